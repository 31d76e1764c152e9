// Package sandbox runs the simulators of all providers, so that a gateway can be tried without any
// setup: it serves them on loopback ports, writes a configuration for them, prints a guide, and
// makes a tour of example requests. cmd uses it for `gateway sandbox`, and tests run the gateway
// with it.
package sandbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/berlingroup/berlingroupsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
	"ais-gateway/internal/providers/obie/obiesim"
)

const (
	// Key is the API key of the sandbox's gateway. It gives access to simulated data only.
	Key = "sandbox-key"
	// MyPOS is the id of the ASPSP that the simulator of myPOS represents.
	MyPOS = "4f1e2d3c-0000-4000-8000-000000000101"

	consumerKey = "sandbox-consumer!sandbox-project"
	myposKey    = "sandbox-mypos-key"
	accountKey  = "sandbox-account-key-of-32-bytes." // the same at each start, as account keys are
)

// The ASPSPs of providers berlingroup, whose requests are signed, and obie.
const (
	ElmBank        = "4f1e2d3c-0000-4000-8000-000000000201" // berlingroup; returns the account list with balances
	BirchBank      = "4f1e2d3c-0000-4000-8000-000000000202" // berlingroup; unusual but legal responses, requires a token and a fixed header
	WillowBank     = "4f1e2d3c-0000-4000-8000-000000000203" // berlingroup; slow, with 20 accounts per page
	KingfisherBank = "4f1e2d3c-0000-4000-8000-000000000301" // obie, version 4.0; the balances of all accounts in one call
	HeronBank      = "4f1e2d3c-0000-4000-8000-000000000302" // obie, version 3.1; unusual but legal responses
)

// Sandbox is the environment of a gateway: four simulated providers with nine ASPSPs, and the files
// that the gateway needs.
type Sandbox struct {
	ConfigFile string            // for `gateway serve`
	CallLog    *aspspsim.CallLog // the calls that the ASPSPs received

	dir     string
	servers []*http.Server
	values  []string // for the configuration: names with $ and their values
}

// Options are the options of Start.
type Options struct {
	Address      string // of the API
	AdminAddress string // of probes and metrics; "" for a free loopback port
	Redis        string // the section redis of the configuration as YAML; "" for {mode: embedded}
	// Front wraps the handler of each simulator, for example to inject failures. It may be nil.
	Front func(provider string, simulator http.Handler) http.Handler
}

// Start serves the simulators on free loopback ports and writes the configuration file. The caller
// must call Stop.
func Start(ctx context.Context, o Options) (_ *Sandbox, err error) {
	s := &Sandbox{CallLog: aspspsim.NewCallLog(time.Now)}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "ais-gateway-sandbox-"); err != nil {
		return nil, err
	}
	if err := s.startProviders(ctx, o); err != nil {
		return nil, err
	}
	return s, s.writeConfig(o)
}

// startProviders starts the simulators and writes the files of their providers.
func (s *Sandbox) startProviders(ctx context.Context, o Options) error {
	signingKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	keyFile, err := x509.MarshalPKCS8PrivateKey(signingKey)
	if err != nil {
		return err
	}
	qseal, err := selfSigned(signingKey)
	if err != nil {
		return err
	}
	s.CallLog.SetPolicy(mastercardsim.StoneBank, aspspsim.Policy{Limit: 4, Window: 24 * time.Hour, Unit: aspspsim.PerResource})
	return errors.Join(
		s.writeFile("signing-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyFile})),
		s.writeFile("qseal.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: qseal.Raw})),
		s.writeFile("qseal-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyFile})),
		s.writeFile("mypos-key", []byte(myposKey)),
		s.serve(ctx, o, "mastercard", mastercardsim.New(mastercardsim.Config{
			ConsumerKey: consumerKey, PublicKey: &signingKey.PublicKey, Log: s.CallLog,
		})),
		s.serve(ctx, o, "mypos", mypossim.New(mypossim.Config{APIKey: myposKey, Log: s.CallLog, ASPSP: MyPOS})),
		s.serve(ctx, o, "berlingroup", berlingroupsim.New(berlingroupsim.Config{
			Log: s.CallLog, Banks: berlinGroupBanks, Verify: aspspsim.SignatureVerifier(qseal),
		})),
		s.serve(ctx, o, "obie", obiesim.New(obiesim.Config{Log: s.CallLog, Banks: obieBanks})),
	)
}

// The banks of the standards. Their options are in configuration.
var (
	berlinGroupBanks = []berlingroupsim.Bank{
		{ASPSP: ElmBank, Path: "/elm"},
		{ASPSP: BirchBank, Path: "/birch/xs2a", Version: "v3", WithBalance: berlingroupsim.Rejected, Odd: true, RequireToken: true, Headers: map[string]string{"X-IBM-Client-Id": "sandbox"}},
		{ASPSP: WillowBank, Path: "/willow", WithBalance: berlingroupsim.Ignored, PageSize: 20, Delay: time.Second},
	}
	obieBanks = []obiesim.Bank{
		{ASPSP: KingfisherBank, Path: "/kingfisher", Version: obiesim.V4, Bulk: true},
		{ASPSP: HeronBank, Path: "/heron", Version: obiesim.V3, Odd: true, FinancialID: "0015800000jfSandbx"},
	}
)

// selfSigned returns a certificate (QSEAL) for a key, valid for a year.
func selfSigned(key *rsa.PrivateKey) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "Sandbox TPP"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Stop stops the simulators and removes the files.
func (s *Sandbox) Stop() {
	for _, server := range s.servers {
		_ = server.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// serve serves a simulator on a free loopback port. Its base URL is the configuration's value
// $provider.
func (s *Sandbox) serve(ctx context.Context, o Options, provider string, simulator http.Handler) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if o.Front != nil {
		simulator = o.Front(provider, simulator)
	}
	server := &http.Server{Handler: simulator, ReadHeaderTimeout: 5 * time.Second}
	s.servers = append(s.servers, server)
	s.values = append(s.values, "$"+provider, "http://"+listener.Addr().String())
	go func() { _ = server.Serve(listener) }()
	return nil
}

// writeConfig writes the configuration, the key of the cache, and that of account keys.
func (s *Sandbox) writeConfig(o Options) error {
	cacheKey := make([]byte, 32)
	if _, err := rand.Read(cacheKey); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(Key))
	s.ConfigFile = filepath.Join(s.dir, "gateway.yaml")
	text := strings.NewReplacer(append(s.values,
		"$ADDRESS", o.Address, "$ADMIN", cmp.Or(o.AdminAddress, "127.0.0.1:0"), "$REDIS", cmp.Or(o.Redis, "{mode: embedded}"),
		"$KEYHASH", hex.EncodeToString(key[:]), "$DIR", s.dir, "$CONSUMER", consumerKey,
		"$WOOD", mastercardsim.WoodBank, "$STONE", mastercardsim.StoneBank, "$RIVER", mastercardsim.RiverBank, "$POS", MyPOS,
		"$ELM", ElmBank, "$BIRCH", BirchBank, "$WILLOW", WillowBank, "$KINGFISHER", KingfisherBank, "$HERON", HeronBank,
	)...).Replace(configuration)
	return errors.Join(
		s.writeFile("cache-key", []byte(base64.StdEncoding.EncodeToString(cacheKey))),
		s.writeFile("account-key", []byte(base64.StdEncoding.EncodeToString([]byte(accountKey)))),
		s.writeFile("gateway.yaml", []byte(text)),
	)
}

const configuration = `# The configuration of a sandbox's gateway, written anew at each start.
server: {address: "$ADDRESS", drainFor: 0s, adminAddress: "$ADMIN"}
redis: $REDIS
clients:
  apiKeys:
    - {name: sandbox, sha256: $KEYHASH, scopes: ["accounts:read", "balances:read"]}
providers:
  mastercard: {baseURL: "$mastercard", consumerKey: "$CONSUMER", signingKeyFile: "$DIR/signing-key.pem"}
  mypos: {baseURL: "$mypos", apiKeyFile: "$DIR/mypos-key"}
  berlingroup: {baseURL: "$berlingroup/elm", signingCertificateFile: "$DIR/qseal.pem", signingKeyFile: "$DIR/qseal-key.pem"}
  obie: {baseURL: "$obie/kingfisher"}
aspsps:
  - {id: $WOOD, name: Wood Bank, provider: mastercard}
  - {id: $STONE, name: Stone Bank, provider: mastercard, unattended: {unit: resource}}
  - {id: $RIVER, name: River Bank, provider: mastercard}
  - {id: $POS, name: myPOS, provider: mypos}
  - {id: $ELM, name: Elm Bank, provider: berlingroup, options: {withBalance: true}}
  - id: $BIRCH
    name: Birch Bank
    provider: berlingroup
    options: {version: v3, baseURL: "$berlingroup/birch/xs2a", requireToken: true, headers: {X-IBM-Client-Id: sandbox}}
  - {id: $WILLOW, name: Willow Bank, provider: berlingroup, options: {version: v1, baseURL: "$berlingroup/willow"}}
  - {id: $KINGFISHER, name: Kingfisher Bank, provider: obie, options: {version: v4.0, allBalances: true}}
  - {id: $HERON, name: Heron Bank, provider: obie, options: {version: v3.1, baseURL: "$obie/heron", headers: {x-fapi-financial-id: 0015800000jfSandbx}}}
cache: {encryptionKeyFile: "$DIR/cache-key"}
accounts: {keyFile: "$DIR/account-key"}
`

func (s *Sandbox) writeFile(name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		return fmt.Errorf("writing the sandbox's %s: %w", name, err)
	}
	return nil
}
