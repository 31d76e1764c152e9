package mypos

import "ais-gateway/internal/config"

// Config contains the configuration keys of this provider.
type Config struct {
	APIKeyFile            config.File `yaml:"apiKeyFile"`            // the consumer key of the developer portal
	ClientCertificateFile config.File `yaml:"clientCertificateFile"` // PEM: the QWAC and its chain
	ClientKeyFile         config.File `yaml:"clientKeyFile"`         // PEM: its private key
}
