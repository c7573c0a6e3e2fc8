{{ staged('raw_logs') }}
