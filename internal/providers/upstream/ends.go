package upstream

import (
	"crypto/x509"
	"time"
)

// FirstEnd is when the first of a chain's certificates, in DER, is valid no longer; zero where there are none.
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
