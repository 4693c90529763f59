//! Protobuf messages, gRPC services and their conversions to core types
