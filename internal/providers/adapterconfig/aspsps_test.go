package adapterconfig_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
	"ais-gateway/internal/providers"
	"ais-gateway/internal/providers/adapter"
	"ais-gateway/internal/providers/adapterconfig"
)

func aspspWith(id, options string, err error) providers.ASPSP {
	return providers.ASPSP{ID: id, Path: id + ".options", Options: func(into any) error {
		*into.(*string) = options
		return err
	}}
}

func TestOpenASPSPs(t *testing.T) {
	invalid := config.Faults{{Path: "b.options.x", Detail: "unknown key"}}
	env := providers.Env{ASPSPs: []providers.ASPSP{aspspWith("a", "one", nil), aspspWith("b", "two", invalid)}}
	faults := config.Faults{{Path: "first", Detail: "is here"}}
	open := func(entry providers.ASPSP, options string) string { return entry.Path + "=" + options }
	got, err := adapterconfig.OpenASPSPs(env, &faults, open)
	if want := map[string]string{"a": "a.options=one", "b": "b.options=two"}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("opened %v, %v", got, err)
	}
	if len(faults) != 2 || faults[1] != invalid[0] {
		t.Errorf("faults %v", faults)
	}
	broken := errors.New("broken")
	env.ASPSPs = append(env.ASPSPs, aspspWith("c", "", broken))
	if _, err := adapterconfig.OpenASPSPs(env, &faults, open); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

func TestFixedHeaders(t *testing.T) {
	var faults config.Faults
	file := func(content string) config.File { return config.InMemoryFile([]byte(content)) }
	got := adapterconfig.FixedHeaders(providers.ASPSP{Path: "o"}, map[string]string{"aspsp-code": "ABC"},
		map[string]config.File{"X-IBM-Client-Id": file(" secret \n")}, nil, &faults)
	if got["Aspsp-Code"].Reveal() != "ABC" || got["X-Ibm-Client-Id"].Reveal() != "secret" || len(got) != 2 || faults != nil {
		t.Errorf("%d headers, faults %v", len(got), faults)
	}
	adapterconfig.FixedHeaders(providers.ASPSP{Path: "o"}, map[string]string{"A": "1", "Reserved": "1"}, map[string]config.File{
		"A": file("2"), "B": file("two\nlines"), "a b": file("3"), "Host": file("4"), "C": {},
	}, []string{"Reserved"}, &faults)
	const setByGateway = "contains a header that the gateway sets itself, or that must not be fixed"
	want := config.Faults{
		{Path: "o.headers", Detail: setByGateway},
		{Path: "o.headerFiles", Detail: "contains a header twice, or one that headers contains as well"},
		{Path: "o.headerFiles.B", Detail: "file must contain a single line of printable ASCII characters"},
		{Path: "o.headerFiles.C", Detail: "is missing"},
		{Path: "o.headerFiles", Detail: setByGateway},
		{Path: "o.headerFiles", Detail: "contains a name that is not a header name"},
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Error(diff)
	}
}

func TestWordTable(t *testing.T) {
	var faults config.Faults
	option := map[string]string{"gone": "CONSENT_EXPIRED", "GONE": "ACCOUNT_UNKNOWN", " ": "PROVIDER_ERROR", "odd": "NOT_FOUND"}
	fold := func(word string) string { return strings.ToUpper(strings.TrimSpace(word)) }
	adapterconfig.WordTable(option, "o.codes", fold, adapter.IsErrorKind, "error", &faults)
	want := config.Faults{
		{Path: "o.codes", Detail: "contains a word that is blank or occurs twice"},
		{Path: "o.codes", Detail: "contains a word that is blank or occurs twice"},
		{Path: "o.codes", Detail: "contains a value that is no error"},
	}
	if diff := cmp.Diff(want, faults); diff != "" {
		t.Error(diff)
	}
	faults = nil
	delete(option, "GONE")
	delete(option, " ")
	delete(option, "odd")
	if got := adapterconfig.WordTable(option, "o.codes", fold, adapter.IsErrorKind, "error", &faults); got["GONE"] != canonical.ConsentExpired || len(got) != 1 || faults != nil {
		t.Errorf("%v, faults %v", got, faults)
	}
}
