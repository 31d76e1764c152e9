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

// An issuer makes tokens.
type issuer struct {
	config.OIDC
	place     string // in the configuration
	keys      *keySet
	now       func() time.Time
	patience  time.Duration // how long a request waits for keys
	pseudonym func(parts ...string) string
}

func newIssuer(o config.OIDC, place string, c Config) *issuer {
	keys := &keySet{fetch: newSource(o).keys, now: c.Now, told: teller(c.Logger.With("issuer", place)), timeout: readTimeout}
	return &issuer{o, place, keys, c.Now, patience, c.Pseudonym}
}

// teller logs when an issuer's keys can no longer be read, and when they can again.
func teller(log *slog.Logger) func(error) {
	failed := false
	return func(err error) {
		switch {
		case err != nil && !failed:
			log.Warn("cannot fetch issuer keys", "cause", cause(err))
		case err == nil && failed:
			log.Info("issuer keys available again")
		}
		failed = err != nil
	}
}

// authenticate says whose token it is. payload is what the token claims to hold, and said what that says.
func (i *issuer) authenticate(ctx context.Context, token string, payload []byte, said claims) (Client, error) {
	// Before the signature, so that for what is refused anyway no issuer is asked.
	if detail := i.objection(said); detail != "" {
		return Client{}, canonical.NewError(canonical.Unauthenticated, detail)
	}
	patient, cancel := context.WithTimeout(ctx, i.patience)
	defer cancel()
	signed := &signature{keys: i.keys, algorithms: i.Algorithms}
	_, err := oidc.NewVerifier(i.Issuer, signed, &oidc.Config{
		SupportedSigningAlgs: i.Algorithms, SkipClientIDCheck: true, SkipExpiryCheck: true, // objection has looked at both
	}).Verify(patient, token)
	switch {
	case err == nil && bytes.Equal(signed.payload, payload):
		return i.client(said), nil
	case ctx.Err() != nil:
		return Client{}, ctx.Err()
	case errors.Is(signed.err, errNoKeys):
		return Client{}, &canonical.Error{
			Kind: canonical.Overloaded, Origin: canonical.OriginGateway, RetryAfter: pause,
			Detail: "the token cannot be verified, because its issuer's keys cannot be read at the moment",
		}
	}
	return Client{}, canonical.NewError(canonical.Unauthenticated, "the token is not signed by its issuer as it should be")
}

// objection is what is wrong with the token's claims; "" for nothing.
func (i *issuer) objection(said claims) string {
	now := i.now()
	switch {
	case said.issuer != i.Issuer || said.name == "":
		return "the token does not name its issuer and its client"
	case !slices.ContainsFunc(said.audiences, func(a string) bool { return slices.Contains(i.Audiences, a) }):
		return "the token is meant for another audience"
	case said.expires.IsZero() || !now.Before(said.expires.Add(i.ClockSkew)):
		return "the token has expired, or does not say when it does"
	case now.Add(i.ClockSkew).Before(said.notBefore) || now.Add(i.ClockSkew).Before(said.issued):
		return "the token is not yet in force"
	}
	return ""
}

// client is whom the token names. The claim is part of who it is: a user who chose his name himself is not the
// client of that name.
func (i *issuer) client(said claims) Client {
	c := Client{
		ID:   config.OIDCClientPrefix + strconv.Quote(i.Issuer) + said.claim + strconv.Quote(said.name),
		Name: i.shown(said), By: said.claim, Issuer: i.place, Scopes: said.scopes,
	}
	for _, g := range i.Grants {
		if g.Client == said.name {
			c.limit = g.RateLimit
			if !said.scoped {
				c.Scopes = g.Scopes
			}
		}
	}
	return c
}

// shown is the client's name as the log may have it. A sub can be a person, and a name that is long, or has other
// characters than names of programs have, could be a person's name or address: a keyed hash replaces both.
func (i *issuer) shown(said claims) string {
	switch {
	case said.claim != "sub" && programName(said.name):
		return said.name
	case i.pseudonym == nil:
		return "hidden"
	}
	return i.pseudonym(i.Issuer, said.claim, said.name)
}

// A signature is that of one token, for go-oidc to verify. go-oidc's own set of keys would read them anew for each
// token that it cannot verify. Its error texts hold what issuers and callers wrote, and are not passed on.
type signature struct {
	keys       *keySet
	algorithms []string
	payload    []byte // what was signed
	err        error  // errNoKeys; go-oidc passes no error on
}

// VerifySignature is the payload of a token that a key of the issuer's has signed.
func (s *signature) VerifySignature(ctx context.Context, token string) ([]byte, error) {
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
		fit := candidates(all, header.KeyID, header.Algorithm)
		// Without a kid, only the signature shows that the issuer has replaced its key.
		if header.KeyID == "" && !slices.ContainsFunc(fit, verifies) {
			return nil
		}
		return fit
	})
	if err != nil {
		s.err = err
		return nil, err
	}
	if !slices.ContainsFunc(found, verifies) {
		return nil, errors.New("callers: no key has signed it")
	}
	return s.payload, nil
}

// mostTried is how many keys a signature is verified with. Each takes CPU time before the caller is authenticated.
const mostTried = 2

// candidates are the keys that a token may be signed with: those of its kid and algorithm. A token without a kid has one
// only if the issuer has exactly one key of the algorithm.
func candidates(all []jose.JSONWebKey, kid, algorithm string) []jose.JSONWebKey {
	var fit []jose.JSONWebKey
	for _, k := range all {
		if (kid == "" || k.KeyID == kid) && signsWith(k, algorithm) {
			fit = append(fit, k)
		}
	}
	switch {
	case kid == "" && len(fit) != 1:
		return nil
	case len(fit) > mostTried:
		return nil
	}
	return fit
}

// signsWith reports whether a key is one of the algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1).
func signsWith(k jose.JSONWebKey, algorithm string) bool {
	if k.Algorithm != "" {
		return k.Algorithm == algorithm
	}
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return curves[algorithm] == public.Curve
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

var curves = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
