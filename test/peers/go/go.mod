module nexus_pg_peer

go 1.21

require github.com/nexus-rpc/sdk-go v0.4.0

require github.com/google/uuid v1.3.0 // indirect
