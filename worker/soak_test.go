package worker

import _ "github.com/goipq/goipq/internal/soak"
