// Package sandbox joins the simulators of both providers into a world that a gateway can be run in with nothing
// set up: it serves them on loopback ports, writes the configuration that reaches them, says what can be called,
// and leads a tour through it. cmd runs it for `gateway sandbox`, and tests run the gateway in it.
package sandbox

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ais-gateway/internal/providers/aspspsim"
	"ais-gateway/internal/providers/mastercard/mastercardsim"
	"ais-gateway/internal/providers/mypos/mypossim"
)

const (
	// Key is the API key with which a sandbox's gateway is called. It opens nothing but made-up data.
	Key = "sandbox-key"
	// MyPOS is the id of the ASPSP behind the simulator of myPOS.
	MyPOS = "4f1e2d3c-0000-4000-8000-000000000101"

	consumerKey = "sandbox-consumer!sandbox-project"
	myposKey    = "sandbox-mypos-key"
)

// A Sandbox is the world around a gateway: two providers, four ASPSPs, and the files that the gateway needs.
type Sandbox struct {
	ConfigFile string           // for `gateway serve`
	Ledger     *aspspsim.Ledger // what reached the ASPSPs

	dir     string
	servers []*http.Server
}

// Options change what Start makes.
type Options struct {
	Address      string // of the API
	AdminAddress string // of probes and metrics; "" for any free port of loopback
	Redis        string // the configuration's part "redis" as YAML; "" for {mode: embedded}
	// Front stands before each simulator, if set, and may spoil what it does.
	Front func(provider string, simulator http.Handler) http.Handler
}

// Start serves the simulators on free loopback ports and writes the configuration file. Stop ends it.
func Start(ctx context.Context, o Options) (_ *Sandbox, err error) {
	s := &Sandbox{Ledger: aspspsim.NewLedger(time.Now)}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "ais-gateway-sandbox-"); err != nil {
		return nil, err
	}
	signingKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	s.Ledger.SetPolicy(mastercardsim.StoneBank, aspspsim.Policy{Limit: 4, Window: 24 * time.Hour, Unit: aspspsim.PerResource})
	obc, err := s.serve(ctx, o, "mastercard", mastercardsim.New(mastercardsim.Config{
		ConsumerKey: consumerKey, PublicKey: &signingKey.PublicKey, Ledger: s.Ledger,
	}))
	if err != nil {
		return nil, err
	}
	mypos, err := s.serve(ctx, o, "mypos", mypossim.New(mypossim.Config{APIKey: myposKey, Ledger: s.Ledger, ASPSP: MyPOS}))
	if err != nil {
		return nil, err
	}
	return s, s.write(o, signingKey, obc, mypos)
}

// Stop ends the simulators and removes the files.
func (s *Sandbox) Stop() {
	for _, server := range s.servers {
		_ = server.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// serve answers on a free loopback port, and returns where.
func (s *Sandbox) serve(ctx context.Context, o Options, provider string, simulator http.Handler) (base string, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	if o.Front != nil {
		simulator = o.Front(provider, simulator)
	}
	server := &http.Server{Handler: simulator, ReadHeaderTimeout: 5 * time.Second}
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}

// write lays down the configuration and the secrets that it names.
func (s *Sandbox) write(o Options, signingKey *rsa.PrivateKey, obc, mypos string) error {
	der, err := x509.MarshalPKCS8PrivateKey(signingKey)
	if err != nil {
		return err
	}
	cacheKey := make([]byte, 32)
	if _, err := rand.Read(cacheKey); err != nil {
		return err
	}
	key := sha256.Sum256([]byte(Key))
	redis := o.Redis
	if redis == "" {
		redis = "{mode: embedded}"
	}
	admin := o.AdminAddress
	if admin == "" {
		admin = "127.0.0.1:0"
	}
	s.ConfigFile = filepath.Join(s.dir, "gateway.yaml")
	return errors.Join(
		s.file("signing-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		s.file("mypos-key", []byte(myposKey)),
		s.file("cache-key", []byte(base64.StdEncoding.EncodeToString(cacheKey))),
		s.file("gateway.yaml", []byte(strings.NewReplacer(
			"$ADDRESS", o.Address, "$ADMIN", admin, "$REDIS", redis, "$KEYHASH", hex.EncodeToString(key[:]), "$DIR", s.dir,
			"$OBC", obc, "$MYPOS", mypos, "$CONSUMER", consumerKey, "$WOOD", mastercardsim.WoodBank,
			"$STONE", mastercardsim.StoneBank, "$RIVER", mastercardsim.RiverBank, "$POS", MyPOS,
		).Replace(configuration))),
	)
}

const configuration = `# The configuration of a sandbox's gateway, written anew at each start.
server: {address: "$ADDRESS", drainFor: 0s, adminAddress: "$ADMIN"}
redis: $REDIS
clients:
  apiKeys:
    - {name: sandbox, sha256: $KEYHASH, scopes: ["accounts:read", "balances:read"]}
providers:
  mastercard: {baseURL: "$OBC", consumerKey: "$CONSUMER", signingKeyFile: "$DIR/signing-key.pem"}
  mypos: {baseURL: "$MYPOS", apiKeyFile: "$DIR/mypos-key"}
aspsps:
  - {id: $WOOD, name: Wood Bank, provider: mastercard}
  - {id: $STONE, name: Stone Bank, provider: mastercard, unattended: {unit: resource}}
  - {id: $RIVER, name: River Bank, provider: mastercard}
  - {id: $POS, name: myPOS, provider: mypos}
cache: {encryptionKeyFile: "$DIR/cache-key"}
`

func (s *Sandbox) file(name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		return fmt.Errorf("writing the sandbox's %s: %w", name, err)
	}
	return nil
}
