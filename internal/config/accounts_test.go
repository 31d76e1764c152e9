package config_test

import (
	"bytes"
	"testing"

	"ais-gateway/internal/config"
)

func TestAccountsKey(t *testing.T) {
	t.Parallel()
	if key := mustRead(t, minimal).Accounts.Key(); key != nil {
		t.Errorf("without a file the key is %x", key)
	}
	c := mustRead(t, onDisk(t, minimal+"accounts: {keyFile: /run/secrets/accounts/key}\n"))
	if key := roundTrip(t, c).Accounts.Key(); !bytes.Equal(key, bytes.Repeat([]byte{4}, 32)) {
		t.Errorf("the key is %x", key)
	}
	for accounts, want := range map[string]string{
		"{keyFile: /run/secrets/cache/key}": "accounts.keyFile (line 12): must contain only one key, because account keys must not change",
		"{keyFile: /run/secrets/bad/short}": "accounts.keyFile (line 12): line 1 must be 32 bytes in base64",
		"{keyFile: /run/secrets/bad/twice}": "accounts.keyFile (line 12): line 2 is a duplicate of line 1",
		"{keyFile: /run/secrets/bad/empty}": "accounts.keyFile (line 12): file is empty",
		"{keyFile: /run/secrets/absent}":    "accounts.keyFile (line 12): file does not exist (relative paths start at the working directory)",
		"{keyFile: ''}":                     "accounts.keyFile (line 12): must not be empty",
		"{key: x}":                          "accounts.key (line 12): unknown key; known keys: keyFile",
		"{freshFor: 1h}":                    "accounts.freshFor (line 12): unknown key; known keys: keyFile",
	} {
		_, err := config.Read([]byte(onDisk(t, minimal+"accounts: "+accounts+"\n")))
		if faults := faultsOf(t, err); len(faults) != 1 || faults[0].String() != want {
			t.Errorf("%s: %v, want %s", accounts, err, want)
		}
	}
}
