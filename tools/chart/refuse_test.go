package chart_test

import (
	"strings"
	"testing"
)

// TestValuesRejected: wrong values are rejected before an install, with a message that names the
// fault. The schema rejects a single wrong value by its path, and the templates reject values that
// do not fit together.
func TestValuesRejected(t *testing.T) {
	for name, c := range map[string]struct {
		set  string // "minimal" if empty
		give []string
		want string
	}{
		"an unknown key":                    {give: []string{`replica=3`}, want: `at '': additional properties 'replica' not allowed`},
		"an unknown key further down":       {give: []string{`service.prot=80`}, want: `at '/service': additional properties 'prot' not allowed`},
		"an unknown key of the gateway's":   {give: []string{`config.server={"limits":{"inflight":1}}`}, want: `at '/config/server/limits': additional properties 'inflight' not allowed`},
		"an address, set by the chart":      {give: []string{`config.server={"address":":80"}`}, want: `at '/config/server': additional properties 'address' not allowed`},
		"an unknown provider":               {give: []string{`config.providers.acme={}`}, want: `at '/config/providers': additional properties 'acme' not allowed`},
		"a secret in place of its file":     {give: []string{`config.cache.encryptionKeyFile="qBAJJoYcVcOyLfPBKJ8G3tXO0PRXlxnHL2gF9kJtYRs="`}, want: `at '/config/cache/encryptionKeyFile'`},
		"a secret under a key of its own":   {give: []string{`config.redis.password="hunter2"`}, want: `at '/config/redis': additional properties 'password' not allowed`},
		"a private key":                     {give: []string{`config.providers.mastercard.consumerKey="-----BEGIN PRIVATE KEY-----"`}, want: `at '/config/providers/mastercard/consumerKey'`},
		"a key instead of its hash":         {give: []string{`config.clients.apiKeys[0].sha256="hunter2"`}, want: `at '/config/clients/apiKeys/0/sha256'`},
		"a password in a URL":               {give: []string{`config.providers.mastercard.baseURL="https://u:p@example.com"`}, want: `at '/config/providers/mastercard/baseURL'`},
		"a password in the proxy's URL":     {give: []string{`proxy.https="http://u:p@proxy:3128"`}, want: `at '/proxy/https'`},
		"a secret in a variable":            {give: []string{`env=[{"name":"A_TOKEN","value":"x"}]`}, want: `at '/env/0': missing property 'valueFrom'`},
		"a secret by another name":          {give: []string{`env=[{"name":"DB_PASSWD","value":"x"}]`}, want: `at '/env/0': missing property 'valueFrom'`},
		"in lower case":                     {give: []string{`env=[{"name":"db_password","value":"x"}]`}, want: `at '/env/0': missing property 'valueFrom'`},
		"a second key":                      {give: []string{`env=[{"name":"API_KEY2","value":"x"}]`}, want: `at '/env/0': missing property 'valueFrom'`},
		"a credential":                      {give: []string{`env=[{"name":"REDIS_CREDENTIAL","value":"x"}]`}, want: `at '/env/0': missing property 'valueFrom'`},
		"a password in a variable's URL":    {give: []string{`env=[{"name":"HTTPS_PROXY","value":"http://u:p@proxy:3128"}]`}, want: `at '/env/0/value'`},
		"the same in lower case":            {give: []string{`env=[{"name":"https_proxy","value":"http://u:p@proxy:3128"}]`}, want: `at '/env/0/value'`},
		"and without a scheme":              {give: []string{`env=[{"name":"https_proxy","value":"u:p@proxy:3128"}]`}, want: `at '/env/0/value'`},
		"a password in a collector's URL":   {give: []string{`telemetry.OTEL_EXPORTER_OTLP_ENDPOINT="https://u:p@collector:4318"`}, want: `at '/telemetry/OTEL_EXPORTER_OTLP_ENDPOINT'`},
		"a private key in a variable":       {give: []string{`env=[{"name":"A","value":"-----BEGIN PRIVATE KEY-----"}]`}, want: `at '/env/0/value'`},
		"a private key in an annotation":    {give: []string{`podAnnotations={"a":"x\n-----BEGIN EC PRIVATE KEY-----"}`}, want: `at '/podAnnotations/a'`},
		"headers, which hold secrets":       {give: []string{`telemetry.OTEL_EXPORTER_OTLP_HEADERS="a=b"`}, want: `at '/telemetry/OTEL_EXPORTER_OTLP_HEADERS'`},
		"a wrong type":                      {give: []string{`replicas="three"`}, want: `at '/replicas': got string, want integer`},
		"plain HTTP to a provider":          {give: []string{`config.providers.mastercard.baseURL="http://example.com"`}, want: `at '/config/providers/mastercard/baseURL'`},
		"a duration without a unit":         {give: []string{`config.providers.mastercard.timeout=10`}, want: `at '/config/providers/mastercard/timeout': got number, want string`},
		"a Redis in each process":           {give: []string{`config.redis.mode="embedded"`}, want: `at '/config/redis/mode'`},
		"a budget that lets no node go":     {give: []string{`podDisruptionBudget.maxUnavailable=0`}, want: `at '/podDisruptionBudget/maxUnavailable'`},
		"the same in per cent":              {give: []string{`podDisruptionBudget.maxUnavailable="0%"`}, want: `at '/podDisruptionBudget/maxUnavailable'`},
		"a peer of an unknown kind":         {give: []string{`networkPolicy.providers.to=[{"cidr":"0.0.0.0/0"}]`}, want: `at '/networkPolicy/providers/to/0': additional properties 'cidr' not allowed`},
		"an empty peer":                     {give: []string{`networkPolicy.callers.from=[{}]`}, want: `at '/networkPolicy/callers/from/0'`},
		"no limit of memory":                {give: []string{`resources.limits.memory=null`}, want: `at '/resources/limits': missing property 'memory'`},
		"the latest image":                  {give: []string{`image.tag="latest"`}, want: `at '/image/tag'`},
		"no configuration":                  {give: []string{`config=null`}, want: `missing property 'config'`},
		"no cache's key":                    {give: []string{`config.cache={}`}, want: `at '/config/cache': missing property 'encryptionKeyFile'`},
		"no clients":                        {give: []string{`config.clients.apiKeys=[]`}, want: "config.clients: names nobody who may call"},
		"a bank without its provider":       {give: []string{`config.aspsps[0].provider="mypos"`}, want: "config.aspsps[0].provider: names none of config.providers"},
		"a list fresh after its end":        {give: []string{`config.aspsps[0].accounts={"keepFor":"9m59s"}`}, want: "config.aspsps[0].accounts.keepFor: must not be shorter than freshFor"},
		"a list fresh for years":            {give: []string{`config.aspsps[0].accounts={"freshFor":"2161h"}`}, want: "config.aspsps[0].accounts.keepFor: must not be shorter than freshFor"},
		"a file that nothing mounts":        {give: []string{`config.audit.keyFile="/run/secrets/audit/key"`}, want: "names /run/secrets/audit/key, which nothing mounts"},
		"a name that is only the beginning": {give: []string{`config.audit.keyFile="/run/secrets/cached/key"`}, want: "names /run/secrets/cached/key, which nothing mounts"},
		"no Redis":                          {give: []string{`config.redis={}`}, want: "config.redis.addresses: is missing"},
		"two Redis":                         {set: "small", give: []string{`config.redis.addresses=["redis:6379"]`}, want: "config.redis: is set by the chart"},
		"a Redis without a password":        {set: "small", give: []string{`redis.password.secret=""`}, want: "redis.password.secret: names no Secret"},
		"a Redis out of reach":              {give: []string{`networkPolicy.redis.to=[]`}, want: "networkPolicy.redis.to: is empty"},
		"a Redis at another port":           {give: []string{`config.redis.addresses=["redis:6380"]`}, want: "networkPolicy.redis.ports: lacks 6380, the port of config.redis.addresses[0]"},
		"no names":                          {give: []string{`networkPolicy.dns.to=[]`}, want: "networkPolicy.dns.to: is empty"},
		"a provider at another port":        {give: []string{`config.providers.mastercard.baseURL="https://example.com:8443/api"`}, want: "networkPolicy.providers.ports: lacks 8443, the port of config.providers.mastercard.baseURL"},
		"an ASPSP at another port":          {set: "cluster", give: []string{`config.aspsps[1].options.baseURL="https://example.com:8443"`}, want: "networkPolicy.providers.ports: lacks 8443, the port of config.aspsps[1].options.baseURL"},
		"an option of another provider":     {set: "cluster", give: []string{`config.aspsps[1].options.allBalances=true`}, want: `at '/config/aspsps/1/options': additional properties 'allBalances' not allowed`},
		"an option without any":             {give: []string{`config.aspsps[0].options={"version":"v1"}`}, want: `at '/config/aspsps/0/options'`},
		"a provider at the usual port":      {give: []string{`networkPolicy.providers.ports=[8443]`}, want: "networkPolicy.providers.ports: lacks 443, the port of config.providers.mastercard.baseURL"},
		"a proxy at another port":           {set: "full", give: []string{`proxy.https="http://proxy:8080"`}, want: "networkPolicy.proxy.ports: lacks 8080, the port of proxy.https"},
		"a proxy at the usual port":         {set: "full", give: []string{`proxy.https="http://proxy/"`}, want: "networkPolicy.proxy.ports: lacks 80, the port of proxy.https"},
		"a proxy by a variable":             {set: "full", give: []string{`proxy.https=""`, `env=[{"name":"https_proxy","value":"proxy:8080"}]`}, want: "networkPolicy.proxy.ports: lacks 8080, the port of env[0]"},
		"a proxy by a Secret, out of reach": {set: "full", give: []string{`proxy.https=""`, `env=[{"name":"HTTPS_PROXY","valueFrom":{"secretKeyRef":{"name":"a","key":"b"}}}]`, `networkPolicy.proxy.to=[]`}, want: "networkPolicy.proxy.to: is empty"},
		"a collector at another port":       {set: "full", give: []string{`telemetry.OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317"`}, want: "networkPolicy.collector.ports: lacks 4317, the port of telemetry.OTEL_EXPORTER_OTLP_ENDPOINT"},
		"a collector by a variable":         {give: []string{`env=[{"name":"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT","value":"http://collector:4318"}]`}, want: "networkPolicy.collector.to: is empty"},
		"an issuer at another port":         {set: "full", give: []string{`config.clients.oidc[0].issuer="https://login.example.com:8443/a"`}, want: "networkPolicy.issuers.ports: lacks 8443, the port of config.clients.oidc[0].issuer"},
		"an issuer's keys at another port":  {set: "full", give: []string{`config.clients.oidc[1].jwksURL="https://[2001:db8::1]:9443/keys"`}, want: "networkPolicy.issuers.ports: lacks 9443, the port of config.clients.oidc[1].jwksURL"},
		"sentinels alone":                   {set: "sentinel", give: []string{`networkPolicy.redis.ports=[26379]`}, want: "networkPolicy.redis.ports: has those of the sentinels alone"},
		"nothing to stop":                   {give: []string{`redis.stopped=true`}, want: "redis.stopped: there is nothing to stop"},
		"a name that is too long":           {give: []string{`fullnameOverride="` + strings.Repeat("a", 47) + `"`}, want: `at '/fullnameOverride': maxLength: got 47, want 46`},
		"a share of no CPU":                 {set: "full", give: []string{`resources.requests.cpu=null`}, want: "autoscaling.cpuUtilization: is per cent of resources.requests.cpu"},
		"callers who cannot call":           {give: []string{`networkPolicy.callers.from=[]`}, want: "networkPolicy.callers.from: is empty"},
		"providers out of reach":            {give: []string{`networkPolicy.providers.to=[]`}, want: "networkPolicy.providers.to: is empty"},
		"a proxy out of reach":              {set: "full", give: []string{`networkPolicy.proxy.to=[]`}, want: "networkPolicy.proxy.to: is empty"},
		"a collector out of reach":          {set: "full", give: []string{`networkPolicy.collector.to=[]`}, want: "networkPolicy.collector.to: is empty"},
		"issuers out of reach":              {set: "full", give: []string{`networkPolicy.issuers.to=[]`}, want: "networkPolicy.issuers.to: is empty"},
		"a scraper that cannot scrape":      {set: "full", give: []string{`networkPolicy.scrapers.from=[]`}, want: "networkPolicy.scrapers.from: is empty"},
		"a proxy that is nowhere":           {set: "full", give: []string{`proxy.https=""`}, want: "config.providers.mypos.proxy: there is no proxy"},
		"audit records in a read-only place": {
			set: "full", give: []string{`config.audit.file="/run/secrets/audit/log"`}, want: "config.audit.file: the root file system is read-only",
		},
		"a variable of the chart's":   {give: []string{`env=[{"name":"GOMEMLIMIT","value":"1"}]`}, want: "env[0]: GOMEMLIMIT is set already"},
		"a variable given twice":      {give: []string{`env=[{"name":"A","value":"1"},{"name":"A","value":"2"}]`}, want: "env[1]: A is set already"},
		"one port for both":           {give: []string{`ports.admin=8080`}, want: "ports.admin: is taken by ports.api"},
		"autoscaling by nothing":      {set: "full", give: []string{`autoscaling.cpuUtilization=0`, `autoscaling.activeRequests=0`}, want: "autoscaling: has nothing to go by"},
		"fewer at most than at least": {set: "full", give: []string{`autoscaling.maxReplicas=2`}, want: "autoscaling.maxReplicas: is less than minReplicas"},
		"a secret named redis":        {set: "small", give: []string{`secrets.redis={"secret":"other"}`}, want: "secrets.redis: its place is taken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.set == "" {
				c.set = "minimal"
			}
			switch _, err := render(t, set{c.set, c.give}); {
			case err == nil:
				t.Error("the values are accepted")
			case !strings.Contains(err.Error(), c.want):
				t.Errorf("want an error with %q, got %v", c.want, err)
			}
		})
	}
}

// TestValuesAccepted: values that are similar to rejected ones, but correct, are accepted.
func TestValuesAccepted(t *testing.T) {
	for _, s := range []set{
		{"minimal", []string{`env=[{"name":"A_KEY_FILE","value":"/run/secrets/a/key"},{"name":"A","value":"https://example.com/@me"}]`}},
		{"minimal", []string{`networkPolicy.providers.ports=[443,8443]`, `config.providers.mastercard.baseURL="https://example.com:8443"`}},
		{"minimal", []string{`networkPolicy={"enabled":false,"dns":{"to":[]},"redis":{"to":[]},"providers":{"to":[]},"callers":{"from":[]}}`}},
		{"minimal", []string{`autoscaling.enabled=true`}},
		{"minimal", []string{`config.aspsps[0].accounts={"freshFor":"60m","keepFor":"1h"}`}},
		{"full", []string{`resources.requests.cpu=null`, `autoscaling.cpuUtilization=0`}},
		{"full", []string{`proxy.https=""`, `env=[{"name":"HTTPS_PROXY","valueFrom":{"secretKeyRef":{"name":"a","key":"b"}}}]`}},
		{"full", []string{`config.clients.oidc[0].issuer="https://login.example.com:6443/a"`}},
		{"sentinel", []string{`networkPolicy.redis.ports=[26379,7000]`}},
	} {
		if _, err := render(t, s); err != nil {
			t.Errorf("%v: %v", s.changes, err)
		}
	}
}

// TestAllFaultsReported: one error lists all values that do not fit together.
func TestAllFaultsReported(t *testing.T) {
	_, err := render(t, set{"minimal", []string{`networkPolicy.callers.from=[]`, `config.redis={}`, `networkPolicy.redis.to=[]`, `secrets={}`}})
	if err == nil || strings.Count(err.Error(), "\n- ") != 5 {
		t.Errorf("want five faults, got %v", err)
	}
}
