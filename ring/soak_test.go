package ring

import _ "github.com/goipq/goipq/internal/soak"
