package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ais-gateway/deploy"
	"ais-gateway/internal/gatewaytest"
	"ais-gateway/internal/servertest"
)

const alertmanagerFile = "../../deploy/prometheus/alertmanager.yaml"

// alert is the labels of a firing alert.
type alert map[string]string

// newAlert returns the labels of an alert of one fleet; more are pairs of a name and a value.
func newAlert(name string, more ...string) alert {
	a := alert{"alertname": name, "job": "ais-gateway", "namespace": "banking"}
	for i := 0; i < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	return a
}

func (a alert) String() string {
	return strings.Join(strings.Fields(fmt.Sprint(a["alertname"], " ", a["severity"], " ", a["window"], " ", a["ais_aspsp_id"], " ", a["namespace"])), " ")
}

// startAlertmanager runs the Alertmanager that is installed, with the shipped configuration, and
// returns its address.
func startAlertmanager(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("prometheus-alertmanager") // Debian's name
	if err != nil {
		if path, err = exec.LookPath("alertmanager"); err != nil {
			t.Fatal("alertmanager is not on the PATH; `make prometheus` installs it")
		}
	}
	file, err := filepath.Abs(alertmanagerFile)
	if err != nil {
		t.Fatal(err)
	}
	var url string
	servertest.Start(t, func(dir string) ([]string, func() error) {
		addr, err := servertest.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		url = "http://" + addr
		ready := func() error {
			resp, err := http.Get(url + "/-/ready")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("not ready: %s", resp.Status)
			}
			return nil
		}
		return []string{
			path, "--config.file", file, "--storage.path", filepath.Join(dir, "data"), "--web.listen-address", addr,
			"--cluster.listen-address=", "--log.level=warn",
		}, ready
	})
	return url
}

// send sends alerts to an Alertmanager.
func send(t *testing.T, url string, alerts []alert) {
	t.Helper()
	type posted struct {
		Labels alert     `json:"labels"`
		EndsAt time.Time `json:"endsAt"`
	}
	var body []posted
	for _, a := range alerts {
		body = append(body, posted{a, time.Now().Add(time.Hour)})
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url+"/api/v2/alerts", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager refuses the alerts: %s", resp.Status)
	}
}

// notInhibited returns the alerts that an Alertmanager does not inhibit, sorted.
func notInhibited(t *testing.T, url string) []string {
	t.Helper()
	resp, err := http.Get(url + "/api/v2/alerts?inhibited=false")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []struct{ Labels alert }
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	var active []string
	for _, a := range all {
		active = append(active, a.Labels.String())
	}
	slices.Sort(active)
	return active
}

// TestOneCausePagesOnce: a real Alertmanager with the shipped inhibit_rules leaves one alert of
// those that one cause fires.
func TestOneCausePagesOnce(t *testing.T) {
	t.Parallel()
	asp := func(id, severity string, more ...string) alert {
		return newAlert("AISGatewayASPSPDown", append([]string{"severity", severity, "ais_aspsp_id", id}, more...)...)
	}
	elsewhere := newAlert("AISGatewayAvailability", "severity", "page", "window", "1h")
	elsewhere["namespace"] = "trading"
	tests := []struct {
		name   string
		alerts []alert
		want   []string
	}{
		{
			"Redis is down",
			[]alert{
				newAlert("AISGatewayRedisUnusable", "severity", "ticket"), newAlert("AISGatewayRedisUnusable", "severity", "page"),
				newAlert("AISGatewayCounterUnavailable", "severity", "page"), newAlert("AISGatewayCacheErrors", "severity", "ticket"),
				newAlert("AISGatewayRedisSlow", "severity", "ticket"), newAlert("AISGatewaySlow", "severity", "page", "window", "1h"),
				newAlert("AISGatewayAvailability", "severity", "page", "window", "1h"), newAlert("AISGatewayAvailability", "severity", "page", "window", "6h"),
				newAlert("AISGatewayAvailability", "severity", "ticket", "window", "1d"),
			},
			[]string{"AISGatewayRedisUnusable page banking"},
		},
		{
			"Redis has just failed",
			[]alert{
				newAlert("AISGatewayRedisUnusable", "severity", "ticket"), newAlert("AISGatewayAvailability", "severity", "page", "window", "1h"),
			},
			[]string{"AISGatewayRedisUnusable ticket banking"},
		},
		{
			"a provider is down",
			[]alert{
				newAlert("AISGatewayProviderDown", "severity", "page", "ais_provider", "mastercard"),
				asp("b1", "page", "ais_provider", "mastercard"), asp("b2", "page", "ais_provider", "mastercard"), asp("b1", "ticket"), asp("b2", "ticket"),
				newAlert("AISGatewayBreakerOpen", "severity", "ticket", "ais_aspsp_id", "b1"),
			},
			[]string{"AISGatewayProviderDown page banking"},
		},
		{
			"an ASPSP of another provider is down, too",
			[]alert{
				newAlert("AISGatewayProviderDown", "severity", "page", "ais_provider", "mastercard"),
				asp("b1", "page", "ais_provider", "mastercard"), asp("b9", "page", "ais_provider", "mypos"),
			},
			[]string{"AISGatewayASPSPDown page b9 banking", "AISGatewayProviderDown page banking"},
		},
		{
			"a certificate expires",
			[]alert{
				newAlert("AISGatewayCertificateExpires", "severity", "page", "part", "mypos"), newAlert("AISGatewayCertificateExpires", "severity", "ticket", "part", "mypos"),
			},
			[]string{"AISGatewayCertificateExpires page banking"},
		},
		{
			"a fleet is absent",
			[]alert{newAlert("AISGatewayAbsent", "severity", "page"), newAlert("AISGatewayDown", "severity", "ticket", "instance", "a")},
			[]string{"AISGatewayAbsent page banking"},
		},
		{
			"another fleet's trouble is not hidden",
			[]alert{newAlert("AISGatewayRedisUnusable", "severity", "page"), elsewhere},
			[]string{"AISGatewayAvailability page 1h trading", "AISGatewayRedisUnusable page banking"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := startAlertmanager(t)
			send(t, url, tt.alerts)
			gatewaytest.Eventually(t, fmt.Sprintf("Alertmanager leaves %q", tt.want), func() bool {
				return slices.Equal(notInhibited(t, url), tt.want)
			})
		})
	}
}

// TestInhibitionsNameAlerts: each alert that inhibit_rules name exists, so that a rule cannot
// become useless when an alert is renamed.
func TestInhibitionsNameAlerts(t *testing.T) {
	alerts, _, err := deploy.Rules()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, a := range alerts {
		known[a.Alert] = true
	}
	text, err := os.ReadFile(alertmanagerFile)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`AISGateway[A-Za-z]+`).FindAllString(string(text), -1)
	if len(names) < 10 {
		t.Fatalf("only %d names of alerts", len(names))
	}
	for _, name := range names {
		if !known[name] {
			t.Errorf("there is no alert %s", name)
		}
	}
}
