package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/recovery"
)

// onceResult is the result of a call that requests of this gateway share.
type onceResult[T any] struct {
	value   T
	failure *canonical.Error
}

// doOnce runs one call for all concurrent requests of the same key on this gateway. The call is not cancelled when its
// callers leave, because a counted call is always completed. It returns Canceled if ctx ends first, and InternalError if the
// call panics. The last result reports whether this request led.
func doOnce[T any](ctx context.Context, g *Gateway, b *aspsp, name string, call func(context.Context) (T, *canonical.Error)) (T, *canonical.Error, bool) {
	var none T
	if ctx.Err() != nil {
		return none, canonical.NewError(canonical.Canceled, ""), false
	}
	g.running.Add(1)
	var led bool
	landed := g.flights.DoChan(name, func() (any, error) {
		led = true
		// It may wait for another gateway's call before it makes its own.
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*b.Timeout+leaseSlack)
		defer cancel()
		f := onceResult[T]{failure: canonical.NewError(canonical.InternalError, "")} // if the call panics
		func() {
			defer recovery.Recover(own, g.Logger)
			f.value, f.failure = call(own)
		}()
		return f, nil
	})
	select {
	case r := <-landed:
		g.running.Done()
		f := r.Val.(onceResult[T])
		return f.value, f.failure, led
	case <-ctx.Done():
		go func() {
			defer g.running.Done()
			<-landed
		}()
		return none, canonical.NewError(canonical.Canceled, ""), false
	}
}

// flightKey is equal for requests that may share one call: the same client, ASPSP, consent and user token, both attended or
// both unattended.
func flightKey(what, client string, q canonical.Query, more string) string {
	return fmt.Sprintf("%s %q %q %q %s %t %q", what, client, q.ASPSP, canonical.NormalizeID(q.Consent), tokenHash(q), q.Attended(), more)
}

// shareKeyHash returns a hash of the user's token and an account for the names of Redis keys. It includes the consent, which
// is not in Redis: without it, an account number could be found by hashing all numbers.
func shareKeyHash(q canonical.Query, account string) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", canonical.NormalizeID(q.Consent), q.Token.Reveal(), account))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// tokenHash returns a hash of the user's token.
func tokenHash(q canonical.Query) string {
	hash := sha256.Sum256([]byte(q.Token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
