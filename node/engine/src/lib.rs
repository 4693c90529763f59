//! What a node does with what it is sent: logic over ports
