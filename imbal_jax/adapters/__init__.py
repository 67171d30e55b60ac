"""The library's methods behind the interfaces of other libraries, which are needed only where they are imported."""
