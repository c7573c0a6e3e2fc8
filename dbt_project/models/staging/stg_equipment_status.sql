{{ staged('equipment_status') }}
