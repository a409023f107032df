package main

import _ "github.com/goipq/goipq/internal/soak"
