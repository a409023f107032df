package plot

import _ "github.com/goipq/goipq/internal/soak"
