package peers

import _ "github.com/goipq/goipq/internal/soak"
