package bypass_test

import _ "github.com/goipq/goipq/internal/soak"
