{{ staged('equipment_sensors') }}
