package bench

import (
	"testing"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) {
	flood.Main()
	labtest.Main(m)
}
