package strictjson

// flatArray is a short way that costs more here than it spares; see flat.go.
func flatArray([]byte, int) int { return 0 }
