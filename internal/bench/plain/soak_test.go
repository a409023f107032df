package plain

import _ "github.com/goipq/goipq/internal/soak"
