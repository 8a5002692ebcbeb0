"""Each step of the ledger that must be whole: a Lua script, behind what `shared.lua` has."""
