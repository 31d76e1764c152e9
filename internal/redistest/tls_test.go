package redistest

import (
	"crypto/tls"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		args    []string
		without bool // let in without a certificate
	}{
		{name: "certificate wanted", args: nil, without: false},
		{name: "certificate welcome", args: []string{"--tls-auth-clients", "optional"}, without: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := StartTLS(t, append(c.args, "--appendonly", "yes")...)
			says(t, s, "OK", "SET", "k", "v")
			s.Restart()
			says(t, s, "v", "GET", "k")
			if got, err := s.Do("CONFIG", "GET", "port").Result(); err != nil || got.(map[any]any)["port"] != "0" {
				t.Errorf("without TLS it listens on %v, %v", got, err)
			}

			full := s.setup.tls
			for _, client := range []struct {
				name   string
				config *tls.Config
				let    bool
			}{
				{"with everything", full, true},
				{"without a certificate", &tls.Config{RootCAs: full.RootCAs}, c.without},
				{"that does not know the authority", &tls.Config{GetClientCertificate: full.GetClientCertificate}, false},
				{"without TLS", nil, false},
			} {
				by := redis.NewClient(&redis.Options{Addr: s.Addr, TLSConfig: client.config, MaxRetries: -1, DialerRetries: 1})
				defer by.Close()
				if err := by.Ping(t.Context()).Err(); (err == nil) != client.let {
					t.Errorf("a client %s: %v", client.name, err)
				}
			}
		})
	}
}
