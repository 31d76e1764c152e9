package canonical_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"ais-gateway/internal/canonical"
)

// verbs are all those that a Formatter is asked for, with flags and without.
var verbs = []string{
	"%v", "%+v", "%#v", "%s", "%+s", "%#s", "%q", "%+q", "%#q", "%x", "% x", "%#x", "%X", "%d", "%c", "%U", "%b",
	"%o", "%O", "%e", "%f", "%g", "%t", "%z", "%10s", "%-40v", "%.3s",
}

// prints is v as everything prints it that may print it.
func prints(t *testing.T, v any) map[string]string {
	t.Helper()
	got := map[string]string{"Sprint": fmt.Sprint(v), "Sprintln": fmt.Sprintln(v), "panic": fmt.Sprint(fmt.Errorf("with %v", v))}
	for _, verb := range verbs {
		got[verb] = fmt.Sprintf(verb, v)
		got[verb+" in a list"] = fmt.Sprintf(verb, []any{v})
		got[verb+" in a struct"] = fmt.Sprintf(verb, struct{ V any }{v})
	}
	var text, lines bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&lines, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	got["slog text"], got["slog JSON"] = text.String(), lines.String()
	return got
}

func TestSecretNeverPrints(t *testing.T) {
	const raw = "SENTINEL"
	secret := canonical.Secret(raw)
	if secret.Reveal() != raw {
		t.Fatalf("it reveals %q", secret.Reveal())
	}
	all := prints(t, secret)
	for name, printed := range prints(t, &secret) {
		all["pointer: "+name] = printed
	}
	encoders := map[string]func(any) ([]byte, error){"json": json.Marshal, "yaml": yaml.Marshal, "xml": xml.Marshal}
	type record struct{ V canonical.Secret }
	for name, encode := range encoders {
		printed, err := encode(record{secret})
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(printed)
	}
	all["String"] = secret.String()
	hex := fmt.Sprintf("%x", raw)
	for name, printed := range all {
		if strings.Contains(printed, raw) || strings.Contains(strings.ToLower(printed), hex) || strings.Contains(printed, "SEN") {
			t.Errorf("%s prints %s", name, printed)
		}
		if !strings.Contains(printed, "[secret]") {
			t.Errorf("%s does not say that there is a secret: %s", name, printed)
		}
	}
}

func TestQueryPrintsNobody(t *testing.T) {
	q := canonical.Query{
		ASPSP:     "4f1e2d3c-0000-4000-8000-000000000001",
		Consent:   "SENTINEL-consent",
		Token:     "SENTINEL-token",
		RequestID: "0f5c54c2-1ae0-4d2b-8a4b-8f5e9e3a7c11",
		PSU: &canonical.PSU{
			IP: netip.MustParseAddr("203.0.113.77"), Port: 50123, UserAgent: "SENTINEL-agent",
			DeviceID: "SENTINEL-device", GeoLocation: "SENTINEL-place",
		},
		Customer: "SENTINEL-customer",
		Merchant: &canonical.Merchant{ID: "SENTINEL-merchant", Name: "SENTINEL-name"},
	}
	all := prints(t, q)
	for name, printed := range prints(t, &q) {
		all["pointer: "+name] = printed
	}
	want := "query(aspsp " + q.ASPSP + ", request " + q.RequestID + ")"
	for name, printed := range all {
		for _, personal := range []string{"SENTINEL", "53454e54", "53454E54", "203.0.113.77", "50123"} {
			if strings.Contains(printed, personal) {
				t.Errorf("%s prints %s", name, printed)
			}
		}
		if !strings.Contains(printed, want) {
			t.Errorf("%s does not name the request: %s", name, printed)
		}
	}
}

func TestQueryAttended(t *testing.T) {
	if (canonical.Query{}).Attended() {
		t.Error("a query without a user counts as attended")
	}
	if !(canonical.Query{PSU: &canonical.PSU{}}).Attended() {
		t.Error("a query of a user counts as unattended")
	}
}

func TestFoldID(t *testing.T) {
	for id, want := range map[string]string{
		"3C7816EE-3D51-4BF5-8CED-ECE2AF35D431":   "3c7816ee-3d51-4bf5-8ced-ece2af35d431",
		"3c7816ee-3d51-4bf5-8ced-ece2af35d431":   "3c7816ee-3d51-4bf5-8ced-ece2af35d431",
		"GFiTpF3:EBy5xGqQMatk":                   "GFiTpF3:EBy5xGqQMatk",
		"{3C7816EE-3D51-4BF5-8CED-ECE2AF35D431}": "{3C7816EE-3D51-4BF5-8CED-ECE2AF35D431}",
		"3C7816EE3D514BF58CEDECE2AF35D431":       "3C7816EE3D514BF58CEDECE2AF35D431",
		"":                                       "",
	} {
		if got := canonical.NormalizeID(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func TestQueryEncodesNobody(t *testing.T) {
	text, err := json.Marshal(canonical.Query{ASPSP: "a", RequestID: "r", Consent: "secret", Customer: "secret", Token: "secret"})
	if err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("%s, %v", text, err)
	}
}
