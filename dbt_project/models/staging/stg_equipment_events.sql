{{ staged('maintenance_events') }}
