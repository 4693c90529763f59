//! The libp2p adapter: peers, gossip and look-ups over real connections
