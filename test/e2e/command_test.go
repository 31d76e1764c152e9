package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/sandbox"
)

func TestCheck(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	good, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, old, new string
		faults         []string
	}{
		{"good", "", "", nil},
		{"unknown key", "server: {", "server: {host: x, ", []string{"server.host (line 2)"}},
		{"unknown key of an adapter", "consumerKey:", "consumerKay:", []string{"providers.mastercard.consumerKay (line 8)", "providers.mastercard.consumerKey (line 8)"}},
		{"unknown provider", "  mypos: {", "  other: {baseURL: 'http://127.0.0.1:1'}\n  mypos: {", []string{"providers.other (line 9)"}},
		{
			"several faults", "server: {", "sever: {", []string{"sever (line 2)"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			text := strings.Replace(string(good), tt.old, tt.new, 1)
			if tt.old != "" && text == string(good) {
				t.Fatal("nothing was changed")
			}
			if tt.name == "several faults" {
				text = strings.Replace(text, "unit: resource", "unit: customer", 1)
				text = strings.Replace(text, "signing-key.pem", "mypos-key", 1)
				tt.faults = append(tt.faults, "providers.mastercard.signingKeyFile (line 8)", "aspsps[1].unattended.unit (line 14)")
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "serve"} {
				if command == "serve" && tt.faults == nil {
					continue
				}
				out, err := exec.Command(gatewaytest.Binary(), command, "--config", file).CombinedOutput()
				if (err == nil) != (tt.faults == nil) {
					t.Errorf("%s: %v\n%s", command, err, out)
				}
				if command == "serve" { // which logs all faults in one line
					var line struct {
						Msg, Level string
						Faults     []string
					}
					if err := json.Unmarshal(out, &line); err != nil || line.Msg != "start failed" || line.Level != "ERROR" {
						t.Errorf("%v\n%s", err, out)
					}
					out = []byte(strings.Join(line.Faults, "\n"))
				}
				if n := strings.Count(strings.TrimSpace(string(out)), "\n") + 1; tt.faults != nil && n != len(tt.faults) {
					t.Errorf("%s: %d faults, want %d\n%s", command, n, len(tt.faults), out)
				}
				for _, fault := range tt.faults {
					if !strings.Contains(string(out), fault+": ") {
						t.Errorf("%s: no %s in\n%s", command, fault, out)
					}
				}
			}
		})
	}
	out, err := exec.Command(gatewaytest.Binary(), "check", "--config", w.ConfigFile, "--print").Output()
	if err != nil || !strings.Contains(string(out), "freshFor: 10m") || strings.Contains(string(out), "PRIVATE KEY") {
		t.Errorf("%v\n%s", err, out)
	}
	file := filepath.Join(t.TempDir(), "effective.yaml")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gatewaytest.Binary(), "check", "--config", file).CombinedOutput(); err != nil {
		t.Errorf("the printed configuration is not accepted: %v\n%s", err, out)
	}
}

// Requested help is on standard output, with exit code 0. Invalid command lines have the reason and
// the help on standard error, with exit code 2.
func TestCommandLine(t *testing.T) {
	const (
		overview = "Usage: gateway COMMAND"
		absent   = "file does not exist (relative paths start at the working directory)"
	)
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{nil, 2, []string{"a command is required\n", overview}},
		{[]string{"bogus"}, 2, []string{"unknown command \"bogus\"\n", overview}},
		{[]string{"serve"}, 2, []string{"--config FILE is required\n", "Usage: gateway serve --config FILE\n"}},
		{[]string{"check"}, 2, []string{"--config FILE is required\n", "Usage: gateway check --config FILE [--print]\n"}},
		{[]string{"check", "--config"}, 2, []string{"--config requires a value\n", "Usage: gateway check"}},
		{[]string{"serve", "--config", "/no/such/file"}, 1, []string{"/no/such/file: " + absent}},
		{[]string{"check", "--config", "/no/such/file"}, 1, []string{"/no/such/file: " + absent}},
		{[]string{"serve", "--confg", "x"}, 2, []string{"unknown flag \"--confg\"\n", "Usage: gateway serve"}},
		{[]string{"check", "--config", "x", "extra"}, 2, []string{"unexpected argument \"extra\"\n", "Usage: gateway check"}},
		{[]string{"version", "extra"}, 2, []string{"unexpected argument \"extra\"\n", "Usage: gateway version\n"}},
		{[]string{"sandbox", "--address", "nowhere"}, 1, []string{"server.address"}},
		{[]string{"sandbox", "--admin-address", "nowhere"}, 1, []string{"server.adminAddress"}},
		{[]string{"sandbox", "--redis", "nowhere"}, 2, []string{"--redis must be HOST:PORT\n", "Usage: gateway sandbox [flags]\n"}},
		{[]string{"sandbox", "--redis", ":6379"}, 2, []string{"--redis must be HOST:PORT\n"}},
		{[]string{"sandbox", "--demo", "--redis", "127.0.0.1:6379"}, 2, []string{"--redis cannot be used with --demo\n"}},
		{[]string{"version"}, 0, []string{"gateway "}},
		{[]string{"--version"}, 0, []string{"gateway "}},
		{[]string{"help"}, 0, []string{overview, "gateway sandbox --demo", "README.md"}},
		{[]string{"--help"}, 0, []string{overview, "run the gateway with simulated providers", "start the service", "validate the configuration", "print the version"}},
		{[]string{"sandbox", "--help"}, 0, []string{"Usage: gateway sandbox", "--admin-address HOST:PORT   where", "(default: a free loopback port)", "Example:\n  gateway sandbox", "README.md"}},
		{[]string{"serve", "--help"}, 0, []string{"Usage: gateway serve", "Example:\n  gateway serve", "README.md"}},
		{[]string{"check", "-h"}, 0, []string{"Usage: gateway check", "--print", "(default: false)", "Example:\n  gateway check", "README.md"}},
		{[]string{"version", "--help"}, 0, []string{"Usage: gateway version", "Example:\n  gateway version", "README.md"}},
	} {
		p := gatewaytest.Start(t, nil, tt.args...)
		code, stdout, stderr := p.Wait(), p.Stdout.String(), p.Stderr.String()
		if code != tt.code {
			t.Errorf("%q: exit %d, want %d", tt.args, code, tt.code)
		}
		for _, want := range tt.want {
			if output := map[int]string{0: stdout, 1: stdout + stderr, 2: stderr}[code]; !strings.Contains(output, want) {
				t.Errorf("%q: no %q in\n%s", tt.args, want, output)
			}
		}
		if code == 0 && stderr != "" || code == 2 && stdout != "" {
			t.Errorf("%q: exit %d, standard output %q, standard error %q", tt.args, code, stdout, stderr)
		}
	}
}

// If a port is in use, the error is logged and the process ends.
func TestPortTaken(t *testing.T) {
	w := gatewaytest.NewSandbox(t, sandbox.Options{})
	first := gatewaytest.Serve(t, w.ConfigFile)
	file := gatewaytest.ReplaceInConfig(t, w, `{address: "127.0.0.1:0"`, `{address: "`+strings.TrimPrefix(first.API, "http://")+`"`)
	p := gatewaytest.Start(t, nil, "serve", "--config", file)
	if code := p.Wait(); code != 1 || !strings.Contains(p.Stdout.String(), `"level":"ERROR","msg":"start failed","cause":"listening on `) || !strings.Contains(p.Stdout.String(), "address already in use") || p.Stderr.String() != "" {
		t.Errorf("exit %d\n%s%s", code, p.Stdout.String(), p.Stderr.String())
	}
}
