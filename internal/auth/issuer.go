package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/config"
)

// issuer authenticates the tokens of one configured issuer.
type issuer struct {
	config.OIDC
	configPath  string // for example clients.oidc[0]
	keys        *keySet
	clock       func() time.Time
	waitTimeout time.Duration // maximum time that a request waits for keys
	pseudonym   func(parts ...string) string
}

func newIssuer(o config.OIDC, path string, c Config) *issuer {
	keys := newKeySet(newKeySource(o).fetchKeys, c.Now, logTransitions(c.Logger.With("issuer", path)))
	return &issuer{o, path, keys, c.Now, waitTimeout, c.Pseudonym}
}

// logTransitions returns a function that logs the first of consecutive failures, and the first
// success after them.
func logTransitions(log *slog.Logger) func(error) {
	failed := false
	return func(err error) {
		switch {
		case err != nil && !failed:
			log.Warn("cannot fetch issuer keys", "cause", failureCause(err))
		case err == nil && failed:
			log.Info("issuer keys available again")
		}
		failed = err != nil
	}
}

// authenticate returns the client of a token. payload and unverified are the result of
// parseUnverified.
func (i *issuer) authenticate(ctx context.Context, token string, payload []byte, unverified claims) (Client, error) {
	// The claims are checked before the signature, so that a token that is refused anyway causes no
	// request for keys.
	if detail := i.validateClaims(unverified); detail != "" {
		return Client{}, canonical.NewError(canonical.Unauthenticated, detail)
	}
	waitCtx, cancel := context.WithTimeout(ctx, i.waitTimeout)
	defer cancel()
	signed := &tokenVerifier{keys: i.keys, algorithms: i.Algorithms}
	_, err := oidc.NewVerifier(i.Issuer, signed, &oidc.Config{
		SupportedSigningAlgs: i.Algorithms, SkipClientIDCheck: true, SkipExpiryCheck: true, // validateClaims has checked both
	}).Verify(waitCtx, token)
	switch {
	case err == nil && bytes.Equal(signed.payload, payload):
		return i.client(unverified), nil
	case ctx.Err() != nil:
		return Client{}, ctx.Err()
	case errors.Is(signed.err, errNoKeys):
		return Client{}, &canonical.Error{
			Kind: canonical.Overloaded, Origin: canonical.OriginGateway, RetryAfter: minRefreshInterval,
			Detail: "the token cannot be verified, because its issuer's keys cannot be read at the moment",
		}
	}
	return Client{}, canonical.NewError(canonical.Unauthenticated, "the token is not signed by its issuer as it should be")
}

// validateClaims returns why the claims are not accepted, "" if they are.
func (i *issuer) validateClaims(c claims) string {
	now := i.clock()
	switch {
	case c.issuer != i.Issuer || c.name == "":
		return "the token does not name its issuer and its client"
	case !slices.ContainsFunc(c.audiences, func(a string) bool { return slices.Contains(i.Audiences, a) }):
		return "the token is meant for another audience"
	case c.expires.IsZero() || !now.Before(c.expires.Add(i.ClockSkew)):
		return "the token has expired, or does not say when it does"
	case now.Add(i.ClockSkew).Before(c.notBefore) || now.Add(i.ClockSkew).Before(c.issued):
		return "the token is not yet in force"
	}
	return ""
}

// client returns the client that verified claims name. The ID contains the name of the claim,
// because a user may choose a sub that equals the name of another client.
func (i *issuer) client(verified claims) Client {
	c := Client{
		ID:   config.OIDCClientPrefix + strconv.Quote(i.Issuer) + verified.claim + strconv.Quote(verified.name),
		Name: i.logName(verified), By: verified.claim, Issuer: i.configPath, Scopes: verified.scopes,
	}
	for _, g := range i.Grants {
		if g.Client == verified.name {
			c.limit = g.RateLimit
			if !verified.scoped {
				c.Scopes = g.Scopes
			}
		}
	}
	return c
}

// logName returns the client's name for the log. A sub may identify a person, as may a name that is
// not a program name: a keyed hash replaces these.
func (i *issuer) logName(c claims) string {
	switch {
	case c.claim != "sub" && isProgramName(c.name):
		return c.name
	case i.pseudonym == nil:
		return "hidden"
	}
	return i.pseudonym(i.Issuer, c.claim, c.name)
}

// tokenVerifier verifies the signature of one token; it implements oidc.KeySet. The key set of
// go-oidc is not used, because it fetches keys again for each token that it cannot verify. Error
// texts of go-oidc and go-jose contain input of issuers and callers, and are not passed on.
type tokenVerifier struct {
	keys       *keySet
	algorithms []string
	payload    []byte // the verified payload
	err        error  // errNoKeys, because go-oidc does not wrap errors
}

// VerifySignature returns the payload of a token that is signed with a key of the issuer.
func (s *tokenVerifier) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	allowed := make([]jose.SignatureAlgorithm, len(s.algorithms))
	for i, a := range s.algorithms {
		allowed[i] = jose.SignatureAlgorithm(a)
	}
	jws, err := jose.ParseSignedCompact(token, allowed)
	if err != nil {
		return nil, err
	}
	header := jws.Signatures[0].Header
	verifies := func(k jose.JSONWebKey) bool {
		payload, err := jws.Verify(k.Key)
		if err == nil {
			s.payload = payload
		}
		return err == nil
	}
	found, err := s.keys.find(ctx, func(all []jose.JSONWebKey) []jose.JSONWebKey {
		matching := candidates(all, header.KeyID, header.Algorithm)
		// Without a kid, a signature that does not verify is the only sign of a replaced key.
		if header.KeyID == "" && !slices.ContainsFunc(matching, verifies) {
			return nil
		}
		return matching
	})
	if err != nil {
		s.err = err
		return nil, err
	}
	if !slices.ContainsFunc(found, verifies) {
		return nil, errors.New("auth: no key verifies the signature")
	}
	return s.payload, nil
}

// maxCandidates is the maximum number of keys that are tried for a signature, because each takes
// CPU time before the client is authenticated.
const maxCandidates = 2

// candidates returns the keys with the token's kid and algorithm. It returns nil if there are too
// many, and for a token without a kid unless exactly one key has the algorithm.
func candidates(all []jose.JSONWebKey, kid, algorithm string) []jose.JSONWebKey {
	var matching []jose.JSONWebKey
	for _, k := range all {
		if (kid == "" || k.KeyID == kid) && matchesAlgorithm(k, algorithm) {
			matching = append(matching, k)
		}
	}
	if kid == "" && len(matching) != 1 || len(matching) > maxCandidates {
		return nil
	}
	return matching
}

// matchesAlgorithm reports whether a key can be used with the algorithm (RFC 7518, section 3.1; RFC
// 8037, section 3.1).
func matchesAlgorithm(k jose.JSONWebKey, algorithm string) bool {
	if k.Algorithm != "" {
		return k.Algorithm == algorithm
	}
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return curveOf[algorithm] == public.Curve
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

var curveOf = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
