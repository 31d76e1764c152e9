package e2e_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/redistest"
	"ais-gateway/internal/sandbox"
)

var (
	writeFormat  = flag.Bool("format.write", false, "write the file of -format.file, which must not exist")
	formatFile   = flag.String("format.file", "format-2.txt", "the name of the file that -format.write writes in testdata/redis, one of formats")
	formatBinary = flag.String("format.program", "", "the program whose entries are recorded; the one of this tree if empty")
)

// formats are the files of entries that the program of this tree writes, and whether it does so with
// accounts.keyFile.
var formats = map[string]bool{"format-1.txt": false, "format-2.txt": true}

// The consents of the recorded entries.
const (
	formatFour   = mastercardsim.FreshConsent + "format-four"   // four calls were made, and the list is cached
	formatErased = mastercardsim.FreshConsent + "format-erased" // its list was deleted
	formatBusy   = mastercardsim.FreshConsent + "format-busy"   // a call is in progress
	formatToken  = "7a0c9c4e-1f5d-4f0e-9d7b-0d2f6a3b9c11"       // the provider requires the user's token, and an attended call is in progress
	formatOnce   = mastercardsim.FreshConsent + "format-once"   // one call, at ASPSPs with other units
)

// formatWorld starts a sandbox with the settings that the recorded entries depend on: an ASPSP that
// counts all consents together, lists that do not expire, a known cache key, and accounts.keyFile if
// keyed. inProgress is called for calls with formatBusy and formatToken, and may block.
func formatWorld(t *testing.T, server *redistest.Server, keyed bool, inProgress func()) (w *sandbox.Sandbox, config string) {
	t.Helper()
	w = gatewaytest.NewSandboxOn(t, server, sandbox.Options{Front: func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if request := fmt.Sprint(r.Header, string(body)); strings.Contains(request, formatBusy) || strings.Contains(request, formatToken) {
				inProgress()
			}
			next.ServeHTTP(rw, r)
		})
	}})
	config = gatewaytest.EditConfig(t, w, func(text string) string {
		text = strings.Replace(text, " drainFor: 0s,", "", 1) // older programs do not have this key
		if !keyed {
			text, _, _ = strings.Cut(text, "accounts: {keyFile: ")
		}
		text = strings.Replace(text, "name: River Bank, provider: mastercard}", "name: River Bank, provider: mastercard, unattended: {unit: aspsp}}", 1)
		return strings.ReplaceAll(text, "provider: mastercard", "accounts: {keepFor: 876000h}, provider: mastercard")
	})
	if err := os.WriteFile(filepath.Join(filepath.Dir(w.ConfigFile), "cache-key"), []byte(formatKeyLine()), 0o600); err != nil {
		t.Fatal(err)
	}
	return w, config
}

func formatCall(t *testing.T, g *gatewaytest.Process, aspsp, consent, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	header = append(header, "Consent-ID", consent, "Provider-Authorization", "Bearer "+mypossim.GoodToken)
	return gatewaytest.Call(t, method, g.API+"/v1/aspsps/"+aspsp+path, header...)
}

// recordFormat makes a program write an entry of every kind, with accounts.keyFile if keyed, and
// returns all entries.
func recordFormat(t *testing.T, program string, keyed bool) formatEntries {
	t.Helper()
	server := redistest.Start(t)
	hold, arrived := make(chan struct{}), make(chan struct{}, 3)
	_, config := formatWorld(t, server, keyed, func() { arrived <- struct{}{}; <-hold })
	g := gatewaytest.Run(t, exec.Command(program, "serve", "--config", config)).Listening()
	wood, entries := mastercardsim.WoodBank, formatEntries{}
	call := func(aspsp, consent, method, path string, header ...string) {
		t.Helper()
		if resp, body := formatCall(t, g, aspsp, consent, method, path, header...); resp.StatusCode == http.StatusBadRequest || resp.StatusCode >= 500 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		entries.collect(server) // notes expire soon
	}
	call(wood, formatFour, http.MethodGet, "/accounts")
	call(wood, formatFour, http.MethodGet, "/accounts/"+mastercardsim.Account+"/balances")
	call(wood, formatFour, http.MethodGet, "/accounts/account1/balances")
	call(wood, formatFour, http.MethodGet, "/accounts/none/balances")
	call(mastercardsim.StoneBank, formatOnce, http.MethodGet, "/accounts")
	call(mastercardsim.RiverBank, formatOnce, http.MethodGet, "/accounts")
	call(wood, mastercardsim.ConsentExhausted, http.MethodGet, "/accounts")
	call(wood, formatErased, http.MethodDelete, "/cached-data")
	for _, pending := range []func(){
		func() { formatCall(t, g, wood, formatBusy, http.MethodGet, "/accounts") },
		func() {
			formatCall(t, g, wood, formatBusy, http.MethodGet, "/accounts/"+mastercardsim.Account+"/balances")
		},
		func() {
			formatCall(t, g, sandbox.MyPOS, formatToken, http.MethodGet, "/accounts", "PSU-IP-Address", "203.0.113.7")
		},
	} {
		ended := make(chan struct{})
		go func() { defer close(ended); pending() }()
		t.Cleanup(func() { <-ended })
	}
	t.Cleanup(func() { close(hold) })
	for range 3 {
		<-arrived
	}
	entries.collect(server)
	return entries
}

// The gateway of this tree writes the recorded keys and values: gateways of other versions must be
// able to read them.
func TestFormat(t *testing.T) {
	program := gatewaytest.Binary()
	if *formatBinary != "" {
		program = *formatBinary
	}
	if *writeFormat {
		recordFormat(t, program, formats[*formatFile]).write(t, filepath.Join("../../deploy/testdata/redis", *formatFile))
	}
	for file, keyed := range formats {
		t.Run(file, func(t *testing.T) {
			recorded := readFormat(t, filepath.Join("../../deploy/testdata/redis", file))
			if diff := cmp.Diff(recorded.plain(t), recordFormat(t, program, keyed).plain(t)); diff != "" {
				t.Errorf("keys or values are not those of the format that gateways share; see \"Formats\" in docs/design.md (-recorded +written):\n%s", diff)
			}
		})
	}
}

// The gateway of this tree uses the entries of other versions: it counts their slots, keeps units
// closed, serves lists that it can read, treats other lists as missing, and waits for leases.
func TestReadsEveryFormat(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("../../deploy/testdata/redis", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		for _, keyed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keyed %t", filepath.Base(file), keyed), func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				began := time.Now()
				readFormat(t, file).load(t, server)
				w, config := formatWorld(t, server, keyed, func() {})
				g := gatewaytest.Serve(t, config)
				checkCounting(t, w, g)
				checkLists(t, w, g, keyed)
				checkLeases(t, w, g, began)
				if n := len(w.CallLog.Breaches()); n != 0 {
					t.Errorf("the bank refused %d calls", n)
				}
				if log := g.Stdout.String(); strings.Contains(log, `"level":"ERROR"`) {
					t.Error(log)
				}
			})
		}
	}
}

// checkCounting checks that slots and closed units are counted, and that no call is made above the
// limit.
func checkCounting(t *testing.T, w *sandbox.Sandbox, g *gatewaytest.Process) {
	t.Helper()
	for _, tt := range []struct {
		name, aspsp, consent string
		want                 string
	}{
		{"consent", mastercardsim.WoodBank, formatFour, `"used":4,"remaining":0`},
		{"call in progress", mastercardsim.WoodBank, formatBusy, `"used":2,"remaining":2`},
		{"resource", mastercardsim.StoneBank, formatOnce, `"used":1,"remaining":3`},
		{"aspsp", mastercardsim.RiverBank, formatOnce, `"used":1,"remaining":3`},
		{"aspsp, another consent", mastercardsim.RiverBank, formatFour, `"used":1,"remaining":3`},
		{"closed", mastercardsim.WoodBank, mastercardsim.ConsentExhausted, `"used":1,"remaining":0`},
	} {
		resp, body := formatCall(t, g, tt.aspsp, tt.consent, http.MethodGet, "/unattended-access")
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %s", tt.name, resp.StatusCode, body, tt.want)
		}
	}
	for _, consent := range []string{formatFour, mastercardsim.ConsentExhausted} {
		resp, body := formatCall(t, g, mastercardsim.WoodBank, consent, http.MethodGet, "/accounts/"+mastercardsim.Account+"/balances")
		if resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(body, `"origin":"gateway"`) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	if calls := w.CallLog.Calls(); len(calls) != 0 {
		t.Errorf("%d calls reached the bank", len(calls))
	}
}

// checkLists checks that a cached list is served, with account keys if the gateway is keyed, and that
// an attended request replaces it.
func checkLists(t *testing.T, w *sandbox.Sandbox, g *gatewaytest.Process, keyed bool) {
	t.Helper()
	resp, body := formatCall(t, g, mastercardsim.WoodBank, formatFour, http.MethodGet, "/accounts")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"staleReason":"unattended_limit"`) {
		t.Errorf("%d %s, want the stale list", resp.StatusCode, body)
	}
	account := `"accountId":"` + mastercardsim.Account + `",`
	if keyed {
		account += `"accountKey":"` + sandboxAccountKeys()[mastercardsim.Account] + `",`
	}
	if !strings.Contains(body, account+`"identification"`) {
		t.Error(body)
	}
	for _, consent := range []string{formatFour, formatErased} {
		if resp, body := formatCall(t, g, mastercardsim.WoodBank, consent, http.MethodGet, "/accounts", "PSU-IP-Address", "203.0.113.7"); resp.StatusCode != http.StatusOK {
			t.Errorf("attended: %d %s", resp.StatusCode, body)
		}
		if resp, body := formatCall(t, g, mastercardsim.WoodBank, consent, http.MethodGet, "/accounts"); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"stale":false`) {
			t.Errorf("the fetched list is not cached: %d %s", resp.StatusCode, body)
		}
	}
	if n := len(w.CallLog.Calls()); n != 2 {
		t.Errorf("%d calls reached the bank, want the two attended ones", n)
	}
}

// checkLeases checks that no call is made while another gateway has the lease.
func checkLeases(t *testing.T, w *sandbox.Sandbox, g *gatewaytest.Process, began time.Time) {
	t.Helper()
	for _, path := range []string{"/accounts", "/accounts/" + mastercardsim.Account + "/balances"} {
		if resp, body := formatCall(t, g, mastercardsim.WoodBank, formatBusy, http.MethodGet, path); resp.StatusCode != http.StatusOK {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	if resp, body := formatCall(t, g, sandbox.MyPOS, formatToken, http.MethodGet, "/accounts", "PSU-IP-Address", "203.0.113.7"); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	n := 0
	for _, c := range w.CallLog.Calls() {
		if c.Consent != formatBusy && c.Consent != formatToken {
			continue
		}
		n++
		if after := c.At.Sub(began); after < formatLease-100*time.Millisecond {
			t.Errorf("a call was made %v after another gateway got the lease for %v", after, formatLease)
		}
	}
	if n < 3 {
		t.Errorf("%d calls reached the bank", n)
	}
}

// write writes the entries to a new file. It fails if the file exists: gateways that wrote its
// entries may still be in use.
func (e formatEntries) write(t *testing.T, file string) {
	t.Helper()
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(e)) {
		for _, v := range e[name] {
			fmt.Fprintln(&b, v.line(name))
		}
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
}
