package config

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
)

// sandboxKey is the API key of every sandbox.
const sandboxKey = "sandbox-key"

// wellKnownKeys are easily guessed API keys from documentation and examples. They are also refused in upper case and with
// a line break at the end, which `echo` adds.
const wellKnownKeys = `
	0 00000000 1 111111 123 1234 12345 123456 1234567 12345678 123456789 1234567890 666666 987654321
	a aa aaa abc abc123 abcd abcd1234 access access-key access_key accesskey admin admin123 administrator
	ais ais-gateway ais_gateway api api-key api_key apikey asdf asdfgh auth authorization bank bearer
	change-me change_me changeit changeme client credentials default demo demo-key demo_key dev development dummy example example-key
	foo foobar gateway guest hello hunter2 iloveyou insecure key key1 letmein local localhost login master mykey my-key my_key
	my-api-key my_api_key my-secret my-secret-key my_secret_key mysecret nil none null op3nsesame p@ssw0rd pass passw0rd password password1 password123
	payments payments-team placeholder prod production public qwerty qwerty123 qwertyuiop replace-me replace_me replaceme root sample secret
	secret-key secret_key secret123 secretkey secrets staging string super-secret super_secret supersecret s3cr3t
	team-a team-b temp test test-key test_key test1 test123 testing testkey tmp todo token true unknown user
	value welcome x x-api-key xxx xxxx xxxxxxxx your-api-key your_api_key your-key your-secret your_secret yourapikey
	<key> <api-key> <your-api-key> $key $api_key ${key} ${api_key}
`

// wellKnownHashes returns the SHA-256 hashes of wellKnownKeys in lower-case hex.
var wellKnownHashes = sync.OnceValue(func() map[string]bool {
	sums := map[string]bool{}
	for _, key := range append(strings.Fields(wellKnownKeys), "", " ") {
		for _, spelling := range []string{key, strings.ToUpper(key)} {
			for _, end := range []string{"", "\n", "\r\n"} {
				sums[sha256Hex(spelling+end)] = true
			}
		}
	}
	return sums
})

func sha256Hex(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// unguessable checks that a hash is not that of a well-known key. The sandbox's key is accepted if all providers are
// simulators.
func (c *checker) unguessable(path, sum string) {
	switch {
	case sum == sha256Hex(""):
		c.fault(path, "must not be the hash of an empty key")
	case wellKnownHashes()[sum], sum == sha256Hex(sandboxKey) && !c.config.onlyLoopback():
		c.fault(path, "must not be the hash of a well-known key (generate a random key)")
	}
}
