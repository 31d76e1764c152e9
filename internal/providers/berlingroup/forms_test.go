package berlingroup

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/canonical"
)

var update = flag.Bool("update", false, "write the last column of FORMS.md anew")

// TestForms compares FORMS.md with what the adapter makes of its examples.
func TestForms(t *testing.T) {
	text, err := os.ReadFile("FORMS.md")
	if err != nil {
		t.Fatal(err)
	}
	readers := map[string]func(*testing.T, string) string{
		"## Accounts": readAccountForm, "## Balances": readBalanceForm, "## Error responses": readErrorForm,
	}
	lines, section, rows := strings.Split(string(text), "\n"), "", map[string]int{}
	for i, line := range lines {
		if strings.HasPrefix(line, "## ") {
			section = line
		}
		cells := strings.Split(line, " | ")
		if len(cells) != 4 && !strings.HasSuffix(line, "` | |") || readers[section] == nil || strings.HasPrefix(line, "| form |") {
			continue
		}
		example := strings.Trim(cells[2], "`")
		result := readers[section](t, example)
		if strings.Contains(result, "|") {
			t.Fatalf("line %d: the result does not fit into a table: %s", i+1, result)
		}
		lines[i] = strings.Join(cells[:3], " | ") + " | " + result + " |"
		rows[section]++
	}
	for section := range readers {
		if rows[section] < 20 {
			t.Errorf("%q has %d forms", section, rows[section])
		}
	}
	want := strings.Join(lines, "\n")
	if *update {
		if err := os.WriteFile("FORMS.md", []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(text), "\n"), lines); diff != "" {
		t.Errorf("FORMS.md (-page +adapter):\n%s", diff)
	}
}

func readAccountForm(t *testing.T, example string) string {
	p := serve(t, responds(http.StatusOK, `{"accounts":[`+example+`]}`), Options{WithBalance: true}, nil)
	all, err := p.AccountsWithBalances(t.Context(), testQuery())
	if err != nil {
		return describeError(t, err)
	}
	text := describeAccount(all[0].Account)
	if all[0].Balances != nil {
		text += "; balances: " + describeBalances(all[0].Balances)
	}
	return text
}

func readBalanceForm(t *testing.T, example string) string {
	return readErrorForm(t, `200 {"balances":[`+example+`]}`)
}

func readErrorForm(t *testing.T, example string) string {
	status, body, _ := strings.Cut(example, " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		t.Fatal(err)
	}
	p := serve(t, responds(code, body), Options{}, nil)
	found, err := p.Balances(t.Context(), testQuery(), "7f-19")
	if err != nil {
		return describeError(t, err)
	}
	return describeBalances(found.Balances)
}

// responds returns a handler that sends the same response to every call.
func responds(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func describeError(t *testing.T, err error) string {
	var failure *canonical.Error
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	text := "error: " + string(failure.Kind)
	if failure.Detail != "" {
		text += ", " + failure.Detail
	}
	if failure.TokenRejected {
		text += ", of the token"
	}
	if failure.Origin == canonical.OriginASPSP {
		text += ", of the ASPSP"
	}
	return text
}

func describeAccount(a canonical.Account) string {
	text := []string{"accountId " + a.ID}
	for _, id := range append([]canonical.Identification{a.Identification}, a.OtherIdentifications...) {
		if id.Value != "" {
			text = append(text, string(id.Scheme)+" "+id.Value)
		}
	}
	for _, member := range [][2]string{
		{"currency", a.Currency},
		{"type", string(a.Type)},
		{"providerType", a.ProviderType},
		{"status", a.Status},
		{"holderType", a.HolderType},
		{"holderName", a.HolderName},
		{"name", a.Name},
		{"nickname", a.Nickname},
	} {
		if member[1] != "" {
			text = append(text, member[0]+" "+member[1])
		}
	}
	return strings.ReplaceAll(strings.Join(text, ", "), "*", `\*`)
}

func describeBalances(list []canonical.Balance) string {
	if len(list) == 0 {
		return "none"
	}
	var all []string
	for _, b := range list {
		text := fmt.Sprintf("%s %s %s", b.Type, b.Amount.Value(), b.Amount.Currency())
		if b.ProviderType != "" {
			text += ", providerType " + b.ProviderType
		}
		if !b.ReferenceTime.IsZero() {
			text += ", referenceDateTime " + b.ReferenceTime.Format(time.RFC3339Nano)
		}
		if b.ReferenceDate != "" {
			text += ", referenceDate " + b.ReferenceDate
		}
		if b.ProviderDateTime != "" {
			text += ", providerDateTime " + b.ProviderDateTime
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
