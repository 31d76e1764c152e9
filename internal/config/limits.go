package config

// Limits are the concurrency limits of one gateway; requests above them are refused with OVERLOADED.
type Limits struct {
	InFlight  int `yaml:"inFlight"`  // requests, in all
	PerClient int `yaml:"perClient"` // requests of one client
	PerASPSP  int `yaml:"perASPSP"`  // calls to one ASPSP
}

func limitDefaults() Limits { return Limits{InFlight: 1000, PerClient: 250, PerASPSP: 100} }

func (c *checker) limits(l Limits) {
	const path, detail = "server.limits", "must be 1 or more"
	c.require(path+".inFlight", l.InFlight >= 1, detail)
	c.require(path+".perClient", l.PerClient >= 1, detail)
	c.require(path+".perASPSP", l.PerASPSP >= 1, detail)
}
