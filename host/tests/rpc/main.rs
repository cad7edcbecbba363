//! The RPC server against well-behaved and hostile clients. The core is a fake that does as it is told.

mod clients;
mod hostile;
mod methods;
mod tcp;
mod world;
