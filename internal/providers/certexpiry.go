package providers

import (
	"crypto/x509"
	"time"
)

// EarliestExpiry returns the earliest expiry of the certificates of a chain, which are in DER; the
// zero time if there are none. Certificates that cannot be parsed are skipped.
func EarliestExpiry(chain [][]byte) time.Time {
	var first time.Time
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err == nil && (first.IsZero() || c.NotAfter.Before(first)) {
			first = c.NotAfter
		}
	}
	return first
}
