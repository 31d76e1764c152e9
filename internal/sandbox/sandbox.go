// Package sandbox runs the simulators of both providers, so that a gateway can be tried without any
// setup: it serves them on loopback ports, writes a configuration for them, prints a guide, and
// makes a tour of example requests. cmd uses it for `gateway sandbox`, and tests run the gateway
// with it.
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
	// Key is the API key of the sandbox's gateway. It gives access to simulated data only.
	Key = "sandbox-key"
	// MyPOS is the id of the ASPSP that the simulator of myPOS represents.
	MyPOS = "4f1e2d3c-0000-4000-8000-000000000101"

	consumerKey = "sandbox-consumer!sandbox-project"
	myposKey    = "sandbox-mypos-key"
)

// Sandbox is the environment of a gateway: two simulated providers with four ASPSPs, and the files
// that the gateway needs.
type Sandbox struct {
	ConfigFile string            // for `gateway serve`
	CallLog    *aspspsim.CallLog // the calls that the ASPSPs received

	dir     string
	servers []*http.Server
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
	signingKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	s.CallLog.SetPolicy(mastercardsim.StoneBank, aspspsim.Policy{Limit: 4, Window: 24 * time.Hour, Unit: aspspsim.PerResource})
	obc, err := s.serve(ctx, o, "mastercard", mastercardsim.New(mastercardsim.Config{
		ConsumerKey: consumerKey, PublicKey: &signingKey.PublicKey, Log: s.CallLog,
	}))
	if err != nil {
		return nil, err
	}
	mypos, err := s.serve(ctx, o, "mypos", mypossim.New(mypossim.Config{APIKey: myposKey, Log: s.CallLog, ASPSP: MyPOS}))
	if err != nil {
		return nil, err
	}
	return s, s.writeFiles(o, signingKey, obc, mypos)
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

// serve serves a simulator on a free loopback port and returns its base URL.
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

// writeFiles writes the configuration and its secret files.
func (s *Sandbox) writeFiles(o Options, signingKey *rsa.PrivateKey, obc, mypos string) error {
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
		s.writeFile("signing-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		s.writeFile("mypos-key", []byte(myposKey)),
		s.writeFile("cache-key", []byte(base64.StdEncoding.EncodeToString(cacheKey))),
		s.writeFile("gateway.yaml", []byte(strings.NewReplacer(
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

func (s *Sandbox) writeFile(name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		return fmt.Errorf("writing the sandbox's %s: %w", name, err)
	}
	return nil
}
