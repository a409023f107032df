package bench

import _ "github.com/goipq/goipq/internal/soak"
