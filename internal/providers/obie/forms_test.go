package obie

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/providers"
)

var update = flag.Bool("update", false, "write the results of FORMS.md anew")

const formsFile = "FORMS.md"

// TestForms reads every example of FORMS.md and compares the result with its last column.
func TestForms(t *testing.T) {
	page, err := os.ReadFile(formsFile)
	if err != nil {
		t.Fatal(err)
	}
	lines, forms := strings.Split(string(page), "\n"), 0
	for i, line := range lines {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[3]), "`{") {
			continue
		}
		forms++
		form, seen, want := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[4])
		t.Run(form, func(t *testing.T) {
			got := readForm(t, strings.Trim(strings.TrimSpace(cells[3]), "`"))
			if seen == "" {
				t.Error("the form was not seen")
			}
			if *update {
				cells[4] = " " + got + " "
				lines[i] = strings.Join(cells, "|")
			} else if got != want {
				t.Errorf("is %q, want %q", got, want)
			}
		})
	}
	if forms != 41 {
		t.Errorf("%d forms, want 41", forms)
	}
	if *update {
		if err := os.WriteFile(formsFile, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// readForm reads an example with the adapter and returns the result as a text.
func readForm(t *testing.T, example string) string {
	t.Helper()
	var member map[string]json.RawMessage
	if err := json.Unmarshal([]byte(example), &member); err != nil {
		t.Fatal(err)
	}
	switch {
	case member["requestId"] != nil:
		return readRequest(t, example)
	case member["status"] != nil:
		return readError(t, example)
	case member["Data"] != nil:
		return readNext(t, example)
	case member["Amount"] != nil:
		sheet, err := serve(t, answers(`{"Data":{"Balance":[`+example+`]}}`), Options{}, nil).Balances(t.Context(), testQuery(), "1")
		return result(strings.Join(text(sheet.Balances), ", "), err)
	}
	all, err := serve(t, answers(`{"Data":{"Account":[`+example+`]}}`), Options{}, nil).Accounts(t.Context(), testQuery())
	if err != nil {
		return result("", err)
	}
	parts := []string{string(all[0].Type) + " " + all[0].ProviderType}
	for _, n := range append([]canonical.Identification{all[0].Identification}, all[0].OtherIdentifications...) {
		parts = append(parts, strings.TrimSpace(string(n.Scheme)+" "+n.Value))
	}
	parts = slices.DeleteFunc(append(parts, all[0].HolderName), func(s string) bool { return s == "" })
	return strings.Join(parts, ", ")
}

// result returns the text, or the error's.
func result(text string, err error) string {
	var failure *canonical.Error
	if errors.As(err, &failure) {
		return "error: " + failure.Detail
	}
	return text
}

// readRequest returns the headers of a request that begin with X-Fapi, without the user's address.
func readRequest(t *testing.T, example string) string {
	t.Helper()
	var of struct {
		RequestID string            `json:"requestId"`
		Headers   map[string]string `json:"headers"`
	}
	if err := json.Unmarshal([]byte(example), &of); err != nil {
		t.Fatal(err)
	}
	var sent []string
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if strings.HasPrefix(name, "X-Fapi") && name != headerCustomerIP {
				sent = append(sent, name+": "+values[0])
			}
		}
		fmt.Fprint(w, `{"Data":{"Account":[]}}`)
	}), Options{Headers: of.Headers}, nil)
	q := testQuery()
	q.RequestID = of.RequestID
	if _, err := p.Accounts(t.Context(), q); err != nil {
		t.Error(err)
	}
	slices.Sort(sent)
	return strings.Join(sent, ", ")
}

// readNext returns what is requested after a page.
func readNext(t *testing.T, example string) string {
	t.Helper()
	var requests []string
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.RequestURI)
		if len(requests) == 1 {
			fmt.Fprint(w, example)
			return
		}
		fmt.Fprint(w, `{"Data":{"Account":[],"Balance":[]}}`)
	}), Options{}, nil)
	_, err := p.Accounts(t.Context(), testQuery())
	if strings.Contains(example, `"Balance"`) {
		requests = nil
		_, err = p.Balances(t.Context(), testQuery(), "1")
	}
	return result(strings.Join(requests[1:], ", "), err)
}

// readError returns the kind of an error response.
func readError(t *testing.T, example string) string {
	t.Helper()
	var of struct {
		Status int             `json:"status"`
		Body   json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal([]byte(example), &of); err != nil {
		t.Fatal(err)
	}
	failure := classify(unattendedQuery(), providers.Request{Account: "1"}, providers.Response{Status: of.Status, Body: of.Body})
	if failure.TokenRejected {
		return string(failure.Kind) + ", token"
	}
	return string(failure.Kind)
}
