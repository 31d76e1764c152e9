package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"ais-gateway/internal/canonical"
	"ais-gateway/internal/recovery"
)

// flown is what a flight brings back.
type flown[T any] struct {
	value   T
	failure *canonical.Error
}

// fly lets one call serve every caller that asks under the same name at the same time. The call does not end
// with its callers: what was counted is also finished. The last result is true for the caller whose call it is.
func fly[T any](ctx context.Context, g *Gateway, b *bank, name string, call func(context.Context) (T, *canonical.Error)) (T, *canonical.Error, bool) {
	var none T
	if ctx.Err() != nil {
		return none, canonical.NewError(canonical.Canceled, ""), false
	}
	g.running.Add(1)
	var led bool
	landed := g.flights.DoChan(name, func() (any, error) {
		led = true
		// Another gateway's call may be waited for before one of our own is made.
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*b.Timeout+leaseMargin)
		defer cancel()
		f := flown[T]{failure: canonical.NewError(canonical.InternalError, "")} // of a panic, which would end the process
		func() {
			defer recovery.Recover(own, g.Logger)
			f.value, f.failure = call(own)
		}()
		return f, nil
	})
	select {
	case r := <-landed:
		g.running.Done()
		f := r.Val.(flown[T])
		return f.value, f.failure, led
	case <-ctx.Done():
		go func() {
			defer g.running.Done()
			<-landed
		}()
		return none, canonical.NewError(canonical.Canceled, ""), false
	}
}

// flightName is equal for requests that may share one call: same client, ASPSP, consent and user's token, both
// attended or both not.
func flightName(what, client string, q canonical.Query, more string) string {
	return fmt.Sprintf("%s %q %q %q %s %t %q", what, client, q.ASPSP, canonical.NormalizeID(q.Consent), tokenHash(q), q.Attended(), more)
}

// laneHash stands in a lane's name, which Redis sees, for the user's token and an account. An account's number can be found
// by trying all there are; together with the consent, which Redis does not have, it cannot.
func laneHash(q canonical.Query, account string) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", canonical.NormalizeID(q.Consent), q.Token.Reveal(), account))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// tokenHash stands for the user's token where the token itself may not.
func tokenHash(q canonical.Query) string {
	hash := sha256.Sum256([]byte(q.Token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
