package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ais-gateway/internal/config"
)

// own has adapter keys of many types.
type own struct {
	ConsumerKey            string                 `yaml:"consumerKey"`
	SigningKeyFile         config.File            `yaml:"signingKeyFile"`
	SigningKeyPasswordFile config.File            `yaml:"signingKeyPasswordFile"`
	Retries                *int8                  `yaml:"retries"`
	Pause                  time.Duration          `yaml:"pause"`
	Words                  map[string][]string    `yaml:"words"`
	Nested                 []map[string][][]uint8 `yaml:"nested"`
	hidden                 config.File
}

func printed(t *testing.T, c *config.Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// roundTrip prints a configuration, reads it again and returns it.
func roundTrip(t *testing.T, c *config.Config) *config.Config {
	t.Helper()
	text := printed(t, c)
	again, err := config.Read([]byte(text))
	if err != nil {
		t.Fatalf("the printed configuration has faults:\n%v\n%s", err, text)
	}
	if diff := cmp.Diff(c, again, sameConfig); diff != "" {
		t.Fatalf("the printed configuration differs (-printed +read):\n%s\n%s", diff, text)
	}
	if second := printed(t, again); second != text {
		t.Fatalf("printed again, it differs:\n%s", cmp.Diff(text, second))
	}
	return again
}

const strange = `    retries: 0
    pause: 1h0m0.5s
    words: {"true": [], "a b": ["", "no", "1", "~", 'it''s', "tab\t\"quote\" \\ \u2028 ключ 😀", "- x", "a: b", "#", "x: ", "10s"]}
    nested:
      - {a: [[1, 2], []], b: []}
      - {}
`

func TestPrintReadsBack(t *testing.T) {
	t.Parallel()
	text := strings.Replace(example, "    consumerKey", strange+"    consumerKey", 1)
	text = strings.Replace(text, "unit: consent}", "unit: resource, closedUntil: 2026-11-20T10:00:00.123Z}", 1)
	c := mustRead(t, onDisk(t, text))
	again := roundTrip(t, c)
	var before, after own
	if err := errors.Join(c.Decoder("mastercard")(&before), again.Decoder("mastercard")(&after)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after, sameConfig, cmp.AllowUnexported(own{})); diff != "" {
		t.Errorf("the adapter's keys (-before +after):\n%s", diff)
	}
	if *after.Retries != 0 || len(after.Words["a b"]) != 11 || after.Words["a b"][5] != "tab\t\"quote\" \\ \u2028 ключ 😀" {
		t.Errorf("the adapter's keys are %+v", after)
	}
	if len(after.Nested) != 2 || len(after.Nested[0]["a"]) != 2 || after.Nested[0]["a"][0][1] != 2 {
		t.Errorf("nested is %v", after.Nested)
	}
}

func TestPrintShowsEveryDefault(t *testing.T) {
	t.Parallel()
	got := printed(t, mustRead(t, strings.Replace(minimal, "provider: p", "provider: p\n    unattended: {limit: 0}", 1)))
	want := `server:
  address: "127.0.0.1:8080"
  adminAddress: "127.0.0.1:9090"
  drainFor: 5s
  limits:
    inFlight: 1000
    perClient: 250
    perASPSP: 100
  profiling: false
redis:
  mode: embedded
  tls:
    enabled: false
  waitReplicas: 0
clients:
  apiKeys:
    - name: a
      sha256: a1c7d2179cf03c5e4a200ad08cd7872afa95e26e2295b44f2618fe832b6c06dc
      scopes: [accounts:read]
providers:
  p:
    baseURL: http://localhost:9000
    timeout: 10s
    proxy: none
aspsps:
  - id: "4f1e2d3c-0000-4000-8000-000000000001"
    name: "Wood Bank"
    provider: p
    psuAddressRequired: false
    unattended:
      limit: 0
      window: 24h
      unit: consent
    accounts:
      freshFor: 10m
      keepFor: 2160h
    breaker:
      consecutiveFailures: 5
      failureRatio: 0.5
      minimumCalls: 20
      interval: 1m
      openFor: 30s
audit:
  output: stdout
  whenFull: drop
log:
  level: info
psu:
  allowPrivateIP: false
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	c := mustRead(t, onDisk(t, strings.Replace(example, "mode: standalone", "passwordFile: /run/secrets/redis/password\n  mode: standalone", 1)))
	var part own
	if err := c.Decoder("mastercard")(&part); err != nil {
		t.Fatal(err)
	}
	part.hidden = part.SigningKeyFile
	if string(part.SigningKeyFile.Content()) != canary || part.SigningKeyPasswordFile.Line() != canary {
		t.Fatal("the adapter has not read its secrets")
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	bytesOf := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	shown := map[string]string{"Print": printed(t, c), "json": string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%x", "%s", "%q"} {
		shown[verb] = fmt.Sprintf(verb, *c) + fmt.Sprintf(verb, part)
	}
	for format, text := range shown {
		for _, secret := range []string{canary, fmt.Sprintf("%x", canary), bytesOf, keyLine(1), keyLine(2), keyLine(4)} {
			if strings.Contains(text, secret) {
				t.Errorf("%s contains a secret:\n%s", format, text)
			}
		}
	}
	if !strings.Contains(printed(t, c), "/mastercard/key.p12") {
		t.Error("Print omits the paths of secrets")
	}
}

func TestDecoder(t *testing.T) {
	t.Parallel()
	c := mustRead(t, onDisk(t, strings.Replace(example, "    consumerKey: \"abc!def\"\n", "    consumerKey: 5\n    retries: 300\n    consumerkey: "+canary+"\n    pause: x\n    words: {a: b}\n    nested: [1]\n", 1)))
	part := own{Pause: time.Second}
	err := c.Decoder("mastercard")(&part)
	want := `consumerKey: must be a string (quote it if it looks like a number or a boolean)
retries: must be a whole number
consumerkey: unknown key; known keys: baseURL, caFile, consumerKey, nested, pause, proxy, retries, signingKeyFile, signingKeyPasswordFile, timeout, words
pause: must be a duration such as 30s, 10m or 24h
words.a: must be a list
nested[0]: must be a mapping (key: value)`
	if got := faultsOf(t, err).Error(); got != want {
		t.Errorf("faults (-want +got):\n%s", cmp.Diff(want, got))
	}
	if part.Pause != time.Second {
		t.Error("an invalid value replaced the default of the adapter")
	}
	if err := c.Decoder("none")(&part); err != nil {
		t.Errorf("a provider that is not in the file: %v", err)
	}
	if err := c.Decoder("mypos")(part); err == nil {
		t.Error("a value that is not a pointer is accepted")
	}
	if err := new(config.Config).Decoder("p")(&part); err != nil {
		t.Errorf("without a file: %v", err)
	}
	var unsupported struct {
		ConsumerKey chan int `yaml:"consumerKey"`
	}
	if err := c.Decoder("mastercard")(&unsupported); err == nil || !strings.Contains(err.Error(), "has a type that is not supported") {
		t.Errorf("a channel: %v", err)
	}
}
