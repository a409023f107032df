package bypass

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -go-package bypass -target bpfel,bpfeb kernel bpf/bypass.c -- -mcpu=v3 -Wall -Wextra -Werror
