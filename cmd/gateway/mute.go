package main

import (
	"io"
	"log" // to silence it
)

// mute keeps what the standard library writes by itself from being written: net/http quotes there what a provider sent
// too much, accounts and names included.
func mute() { log.SetOutput(io.Discard) }
