package flood

import _ "github.com/goipq/goipq/internal/soak"
