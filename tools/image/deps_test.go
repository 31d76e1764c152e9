package main

import (
	_ "github.com/compose-spec/compose-go/v2/cli"
	_ "github.com/goccy/go-yaml"
	_ "github.com/moby/buildkit/frontend/dockerfile/instructions"
	_ "github.com/moby/buildkit/frontend/dockerfile/parser"
	_ "github.com/moby/buildkit/frontend/dockerfile/shell"
	_ "github.com/moby/patternmatcher/ignorefile"
)
