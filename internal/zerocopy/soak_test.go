package zerocopy

import _ "github.com/goipq/goipq/internal/soak"
