package policy

func sum256(b []byte) [32]byte { return portableSum256(b) }
