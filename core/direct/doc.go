// Package direct lists the system's routes that a node answers outside the
// core's transactions, since it answers them while it is sealed, before it is
// initialised, or about itself alone. They are data like the routes of an
// engine: bodies are decoded by their fields, and help and the OpenAPI document
// are made from them. Who answers them is not told here.
package direct
