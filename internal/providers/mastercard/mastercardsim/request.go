package mastercardsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// request contains the parameters of a valid call.
type request struct {
	id, consent, aspsp, account string
	live, balances              bool
}

// fault is an error in one element of a call.
type fault struct{ path, detail string }

// headers are the allowed headers.
var headers = []string{"Accept", "Authorization", "Connection", "Content-Length", "Content-Type"}

var (
	uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

	// ipForm is the documented pattern of psuIPAddress.
	ipForm = regexp.MustCompile(`(^(([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\.){3}([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])$)|` +
		`(^(([0-9a-fA-F]{1,4}:){7,7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:|([0-9a-fA-F]{1,4}:){1,6}:[0-9a-fA-F]{1,4}|` +
		`([0-9a-fA-F]{1,4}:){1,5}(:[0-9a-fA-F]{1,4}){1,2}|([0-9a-fA-F]{1,4}:){1,4}(:[0-9a-fA-F]{1,4}){1,3}|` +
		`([0-9a-fA-F]{1,4}:){1,3}(:[0-9a-fA-F]{1,4}){1,4}|([0-9a-fA-F]{1,4}:){1,2}(:[0-9a-fA-F]{1,4}){1,5}|` +
		`[0-9a-fA-F]{1,4}:((:[0-9a-fA-F]{1,4}){1,6})|:((:[0-9a-fA-F]{1,4}){1,7}|:)|` +
		`fe80:(:[0-9a-fA-F]{0,4}){0,4}%[0-9a-zA-Z]{1,}|` +
		`::(ffff(:0{1,4}){0,1}:){0,1}((25[0-5]|(2[0-4]|1{0,1}[0-9]){0,1}[0-9])\.){3,3}(25[0-5]|(2[0-4]|1{0,1}[0-9]){0,1}[0-9])|` +
		`([0-9a-fA-F]{1,4}:){1,4}:((25[0-5]|(2[0-4]|1{0,1}[0-9]){0,1}[0-9])\.){3,3}(25[0-5]|(2[0-4]|1{0,1}[0-9]){0,1}[0-9]))$)`)
)

// field is a documented member: a value with a check, or an object with members.
type field struct {
	name     string
	required bool
	valid    func(value any) bool
	members  []field
}

var (
	accountsFields = []field{{name: "requestInfo", required: true, members: []field{
		{name: "xRequestId", required: true, valid: matches(uuidForm)},
		{name: "consentId", required: true, valid: isText},
		{name: "aspspId", required: true, valid: matches(uuidForm)},
		{name: "isLivePsuRequest", valid: isBool},
		{name: "psuIPAddress", valid: matches(ipForm)},
		{name: "psuAgent", valid: isText},
		{name: "psuTppCustomerId", valid: isText},
		{name: "merchant", members: []field{
			{name: "id", required: true, valid: isText},
			{name: "name", required: true, valid: isText},
		}},
	}}}
	balancesFields = append(slices.Clone(accountsFields), field{name: "accountId", required: true, valid: isText})
)

func matches(form *regexp.Regexp) func(any) bool {
	return func(v any) bool { s, ok := v.(string); return ok && form.MatchString(s) }
}

func isText(v any) bool {
	s, ok := v.(string)
	n := utf8.RuneCountInString(s)
	return ok && utf8.ValidString(s) && n >= 1 && n <= 256
}

func isBool(v any) bool { _, ok := v.(bool); return ok }

func isJSON(contentType string) bool {
	kind, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	return err == nil && kind == "application/json" && (charset == "" || charset == "utf-8")
}

// readRequest parses a call. It returns all faults of it.
func readRequest(r *http.Request, body []byte, balances bool) (request, []fault) {
	var faults []fault
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if !slices.Contains(headers, name) {
			faults = append(faults, fault{"/headers/" + name, "Header is not allowed"})
		}
	}
	if accept := r.Header.Get("Accept"); accept != "" && accept != "application/json" {
		faults = append(faults, fault{"/headers/Accept", "Only JSON is answered"})
	}
	document, err := parse(body)
	if err != nil {
		return request{}, append(faults, fault{"/", "Body is not one JSON object with each member once"})
	}
	fields := accountsFields
	if balances {
		fields = balancesFields
	}
	faults = check(faults, "", document, fields)
	info, _ := document["requestInfo"].(map[string]any)
	req := request{balances: balances}
	req.live, _ = info["isLivePsuRequest"].(bool)
	_, addressed := info["psuIPAddress"]
	switch {
	case req.live && !addressed:
		faults = append(faults, fault{"/requestInfo/psuIPAddress", "Conditional field psuIPAddress is expected when isLivePsuRequest='true'"})
	case !req.live && addressed:
		faults = append(faults, fault{"/requestInfo/psuIPAddress", "Conditional field psuIPAddress is expected only when isLivePsuRequest='true'"})
	}
	req.id, _ = info["xRequestId"].(string)
	req.consent, _ = info["consentId"].(string)
	req.aspsp, _ = info["aspspId"].(string)
	req.account, _ = document["accountId"].(string)
	return req, faults
}

// check adds the faults of an object with the given fields.
func check(faults []fault, path string, object map[string]any, fields []field) []fault {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			faults = append(faults, fault{path + "/" + name, "Object instance has properties which are not allowed by the schema: [" + strconv.Quote(name) + "]"})
		}
	}
	for _, f := range fields {
		value, given := object[f.name]
		inner, isObject := value.(map[string]any)
		switch {
		case !given && f.required:
			faults = append(faults, fault{path + "/" + f.name, "Object has missing required properties ([" + strconv.Quote(f.name) + "])"})
		case !given:
		case f.members != nil && isObject:
			faults = check(faults, path+"/"+f.name, inner, f.members)
		case f.members != nil, !f.valid(value):
			faults = append(faults, fault{path + "/" + f.name, "Instance does not match the schema"})
		}
	}
	return faults
}

var errNotStrict = errors.New("not a JSON object with unique members")

// parse parses one JSON object. A repeated member is an error. null becomes nil, which no field
// accepts.
func parse(body []byte) (map[string]any, error) {
	if !utf8.Valid(body) {
		return nil, errNotStrict
	}
	tokens := json.NewDecoder(bytes.NewReader(body))
	tokens.UseNumber()
	value, err := parseValue(tokens)
	if err != nil {
		return nil, err
	}
	if _, err := tokens.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotStrict
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errNotStrict
	}
	return object, nil
}

func parseValue(tokens *json.Decoder) (any, error) {
	token, err := tokens.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for tokens.More() {
			name, err := tokens.Token()
			if err != nil {
				return nil, err
			}
			if _, twice := object[name.(string)]; twice {
				return nil, errNotStrict
			}
			if object[name.(string)], err = parseValue(tokens); err != nil {
				return nil, err
			}
		}
		_, err = tokens.Token()
		return object, err
	case json.Delim('['):
		return nil, errNotStrict // no request contains an array
	}
	return token, nil
}
