"""The ModelAdmins, one module each. Importing this package registers them."""
