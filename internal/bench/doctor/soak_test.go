package doctor

import _ "github.com/goipq/goipq/internal/soak"
