;; A guest that does on purpose what the real one never should. It answers by
;; the byte behind the magic of the image that it was given, and by the first
;; letter of the AccessKeyId:
;;   T trap   L loop without end   X proc_exit   Z the word 0   S status 77
;;   B bit 57   R reason 13   P 33 bits of an IPv4 address   W 129 bits
;;   C counts to ten millions, and then as any other letter:
;;   Allow if the image says A, else Deny
;; keymoat_explain does as the letters say and then points outside of its memory, keymoat_authorize ends as its
;; flags say, keymoat_evaluate_batch answers with too few words.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 32)
  (global $image (mut i32) (i32.const 0))
  (global $result (mut i64) (i64.const 0))
  (data (i32.const 64) "panic: on purpose\n")
  (data (i32.const 32) "\40\00\00\00\12\00\00\00")
  (func (export "_initialize"))
  (func (export "keymoat_abi_version") (result i32) (i32.const 0x10000))
  (func (export "keymoat_alloc") (param i32) (result i32) (i32.const 8192))
  (func (export "keymoat_free") (param i32) (result i32) (i32.const 0))
  (func (export "keymoat_load") (param i32 i32) (result i32)
    (global.set $image (i32.load8_u offset=8 (local.get 0))) (i32.const 0))
  (func (export "keymoat_compile") (param i32 i32) (result i32) (i32.const 9))
  (func (export "keymoat_validate") (param i32 i32) (result i32) (i32.const 9))
  (func (export "keymoat_request_buffer") (result i32) (i32.const 4096))
  (func $word (param $letter i32) (result i64) (local $count i32)
    (if (i32.eqz (global.get $image)) (then (return (i64.const 1))))
    ;; Like the real one, after a trap it looks usable and answers wrong.
    (if (i32.or (i32.eq (local.get $letter) (i32.const 84))
                (i32.or (i32.eq (local.get $letter) (i32.const 76)) (i32.eq (local.get $letter) (i32.const 88))))
      (then (global.set $image (i32.xor (global.get $image) (i32.const 5)))))
    (if (i32.eq (local.get $letter) (i32.const 84)) (then
      (drop (call $write (i32.const 2) (i32.const 32) (i32.const 1) (i32.const 48))) (unreachable)))
    (if (i32.eq (local.get $letter) (i32.const 76)) (then (loop $again (br $again))))
    (if (i32.eq (local.get $letter) (i32.const 67)) (then (loop $again
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $count) (i32.const 10000000))))))
    (if (i32.eq (local.get $letter) (i32.const 88)) (then (call $exit (i32.const 3))))
    (if (i32.eq (local.get $letter) (i32.const 90)) (then (return (i64.const 0))))
    (if (i32.eq (local.get $letter) (i32.const 83)) (then (return (i64.const 77))))
    (if (i32.eq (local.get $letter) (i32.const 66)) (then (return (i64.const 0x02180000010c0100))))
    (if (i32.eq (local.get $letter) (i32.const 82)) (then (return (i64.const 0x00000000010d0100))))
    (if (i32.eq (local.get $letter) (i32.const 80)) (then (return (i64.const 0x01210000010c0100))))
    (if (i32.eq (local.get $letter) (i32.const 87)) (then (return (i64.const 0x01810000010c0100))))
    (if (i32.eq (global.get $image) (i32.const 65)) (then (return (i64.const 0x01180000010c0100))))
    (i64.const 0x00000000010b0000))
  (func (export "keymoat_evaluate") (param i32) (result i64)
    (call $word (i32.load8_u (i32.const 4120))))
  (func (export "keymoat_evaluate_batch") (param i32 i32 i32) (result i32)
    (i64.store (i32.const 256) (call $word (i32.load8_u offset=24 (local.get 0))))
    (global.set $result (i64.const 0x0000010000000008)) (i32.const 0))
  (func (export "keymoat_evaluate_json") (param i32 i32) (result i32) (i32.const 9))
  (func (export "keymoat_explain") (param i32 i32) (result i32)
    (drop (call $word (i32.load8_u offset=17 (local.get 0))))
    (global.set $result (i64.const 0x001ffff000000011)) (i32.const 0))
  (func (export "keymoat_authorize") (param i32 i32) (result i64)
    (call $word (i32.load8_u offset=28 (local.get 0))))
  (func (export "keymoat_result") (result i64) (global.get $result))
  (func (export "keymoat_revision") (result i32) (i32.const 9))
  (func (export "keymoat_info") (result i32) (i32.const 9)))
